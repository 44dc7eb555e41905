//! `pkcs11-issuer token`: what the tokens of a library say about themselves without a login.

mod bench;
pub(super) mod record;
mod text;

use std::collections::BTreeMap;

use anyhow::anyhow;

use self::record::{MechanismRecord, TokenRecord};
use super::{
    find::{FoundToken, look, one, uri},
    output::print,
    session::start_log,
};
use crate::{args::TokenCommand, message::shown};

/// Prints tokens. A library that cannot be used does not hide the tokens of the others; it is the error afterwards.
///
/// # Errors
/// A library, the configuration or the name of the token must be corrected first.
pub async fn token(command: &TokenCommand) -> anyhow::Result<()> {
    start_log()?;
    match command {
        TokenCommand::List(asked) => {
            let (seen, failed) = look(&asked.libraries).await?;
            let tokens: Vec<_> = seen.iter().map(record_of).collect();
            let text = || text::list(&tokens);
            print(
                asked.libraries.output,
                &BTreeMap::from([("tokens", &tokens)]),
                text,
            )?;
            failed.map_or(Ok(()), Err)
        }
        TokenCommand::Show(asked) => {
            let seen = one(&asked.libraries, asked.token.as_deref()).await?;
            let record = record_of(&seen);
            print(asked.libraries.output, &record, || text::show(&record))
        }
        TokenCommand::Bench(asked) => bench::bench(asked).await,
        TokenCommand::Mechanisms(asked) => {
            let FoundToken { slot, .. } = one(&asked.libraries, asked.token.as_deref()).await?;
            let token = slot.token.map_err(|code| {
                anyhow!(
                    "the token in {} cannot be read: {code}; see to it",
                    slot.slot
                )
            })?;
            let mechanisms = token.mechanisms.map_err(|code| {
                anyhow!(
                    "{} does not list its mechanisms: {code}; see to its library",
                    shown(uri(&token.info))
                )
            })?;
            let mechanisms: Vec<_> = mechanisms.into_iter().map(MechanismRecord::of).collect();
            let text = || text::mechanisms(&mechanisms);
            let record = BTreeMap::from([("mechanisms", &mechanisms)]);
            print(asked.libraries.output, &record, text)
        }
    }
}

fn record_of(seen: &FoundToken) -> TokenRecord {
    TokenRecord::of(&seen.launch.to_string(), &seen.slot)
}
