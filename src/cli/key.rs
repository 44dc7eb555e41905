//! `pkcs11-issuer key`: the keys on a token, with how each is protected and which certificate is its own.

mod owner;
mod record;
mod text;

use std::{num::NonZeroU16, time::Instant};

use anyhow::{Context as _, bail};
use hsm::{ObjectList, SeenCertificate, SeenKey, Uri};

use self::record::{KeyRecord, KeysRecord};
use super::{
    find::{FoundToken, one, uri},
    output::print,
    session::{self, Login, progress, start_log, start_within},
};
use crate::{
    args::{KeyCommand, Libraries, LoginFlags},
    message::{first_of, shown},
};

/// Most keys that a message names.
const MOST_NAMED: usize = 8;

/// Prints keys.
///
/// # Errors
/// The library, the token, the PIN or the name of the key must be corrected first.
pub async fn key(command: &KeyCommand) -> anyhow::Result<()> {
    start_log()?;
    match command {
        KeyCommand::List(asked) => {
            let record = read(&asked.libraries, &asked.login, asked.token.as_deref()).await?;
            print(asked.libraries.output, &record, || text::list(&record))
        }
        KeyCommand::Show(asked) => {
            let named: Uri = asked
                .key
                .parse()
                .context("the URI of the key is not accepted")?;
            let token = named.token().map(|token| Uri::of_token(token).to_string());
            let record = read(&asked.libraries, &asked.login, token.as_deref()).await?;
            let key = chosen(record, &named)?;
            print(asked.libraries.output, &key, || text::show(&key))
        }
    }
}

/// What a token shows.
pub(super) struct Objects {
    pub(super) token: Uri,
    pub(super) logged_in: bool,
    pub(super) private: ObjectList<SeenKey>,
    pub(super) public: ObjectList<SeenKey>,
    pub(super) certificates: ObjectList<SeenCertificate>,
}

/// Reads every key and certificate of a token.
pub(super) async fn objects(seen: &FoundToken, login: &LoginFlags) -> anyhow::Result<Objects> {
    let login = Login::find(seen, login)?;
    let logged_in = login.is_made();
    let token = match &seen.slot.token {
        Ok(token) => uri(&token.info),
        Err(code) => bail!(
            "the token in {} cannot be read: {code}; see to it",
            seen.slot.slot
        ),
    };
    let within = start_within(seen.hang_after);
    let stop = session::interrupts()?;
    session::with(seen, login, NonZeroU16::MIN, &stop, async |worker| {
        let listed = async || {
            Ok::<_, hsm::HsmError>(Objects {
                token,
                logged_in,
                private: worker.keys(true, Instant::now() + within).await?,
                public: worker.keys(false, Instant::now() + within).await?,
                certificates: worker.certificates(Instant::now() + within).await?,
            })
        };
        listed()
            .await
            .context("failed to list the objects of the token; see to its library")
    })
    .await
}

async fn read(
    libraries: &Libraries,
    login: &LoginFlags,
    token: Option<&str>,
) -> anyhow::Result<KeysRecord> {
    let seen = one(libraries, token).await?;
    let record = KeysRecord::of(objects(&seen, login).await?);
    if !record.logged_in {
        progress(format_args!(
            "there was no login, so the token may hide keys; --pin-file or --pin-record log in"
        ));
    }
    if record.is_cut {
        progress(format_args!(
            "the token has more keys or certificates than {} of a kind, which are all that is shown",
            hsm::protocol::MOST_OBJECTS
        ));
    }
    Ok(record)
}

/// Returns the one key with this name. A private key comes before its own public half.
fn chosen(record: KeysRecord, named: &Uri) -> anyhow::Result<KeyRecord> {
    let wanted = named.key();
    let all: Vec<_> = record.keys.iter().map(KeyRecord::name).collect();
    let (all, logged_in) = (first_of(MOST_NAMED, &all), record.logged_in);
    let mut matching: Vec<_> = record
        .keys
        .into_iter()
        .filter(|key| key.matches(&wanted))
        .collect();
    if matching.iter().any(KeyRecord::is_private) {
        matching.retain(KeyRecord::is_private);
    }
    match (matching.pop(), matching.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => bail!("several keys have this name; name one of {all}"),
        (None, _) if all.is_empty() => match logged_in {
            true => bail!("the token has no keys"),
            false => bail!("the token shows no keys without a login; give --pin-file"),
        },
        (None, _) => bail!("the token shows no such key; name one of {}", shown(all)),
    }
}
