//! `pkcs11-issuer token`: what the tokens of a library say about themselves without a login.

pub(super) mod record;
mod text;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use hsm::{Launch, SeenSlot, Uri, survey};

use self::record::{MechanismRecord, TokenRecord, uri};
use super::{machine, output::print};
use crate::{
    args::{Libraries, OneToken, TokenCommand},
    config::{Config, Library},
    message::{first_of, shown},
    signers::launch,
    telemetry::{self, LogFormat, Unread},
};

/// Default log filter, without RUST_LOG. The lines of workers and their libraries are shown as they come.
const LOG: &str = "error,hsm=info";
/// Time limit of one call into a library that no configuration describes.
const HANG_AFTER: Duration = Duration::from_secs(30);
/// Most tokens that a message names.
const MOST_NAMED: usize = 8;

/// Prints tokens. A library that cannot be used does not hide the tokens of the others; it is the error afterwards.
///
/// # Errors
/// A library, the configuration or the name of the token must be corrected first.
pub async fn token(command: &TokenCommand) -> anyhow::Result<()> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| LOG.to_owned());
    telemetry::start(LogFormat::Text, &filter, Unread::Wait, None)?;
    match command {
        TokenCommand::List(asked) => {
            let (seen, failed) = look(&asked.libraries).await?;
            let records = seen.iter().map(Seen::record);
            let tokens: Vec<_> = records.collect();
            let text = || text::list(&tokens);
            print(
                asked.libraries.output,
                &BTreeMap::from([("tokens", &tokens)]),
                text,
            )?;
            failed.map_or(Ok(()), Err)
        }
        TokenCommand::Show(asked) => {
            let seen = one(asked).await?;
            let record = seen.record();
            print(asked.libraries.output, &record, || text::show(&record))
        }
        TokenCommand::Mechanisms(asked) => {
            let Seen { slot, .. } = one(asked).await?;
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

/// A slot with a token, and where its library is.
struct Seen {
    library: String,
    slot: SeenSlot,
}

impl Seen {
    fn record(&self) -> TokenRecord {
        TokenRecord::of(&self.library, &self.slot)
    }
}

/// Returns the tokens of every library, and the error of a library that cannot be used.
async fn look(libraries: &Libraries) -> anyhow::Result<(Vec<Seen>, Option<anyhow::Error>)> {
    let mut seen = Vec::new();
    let mut failed = None;
    for (launch, hang_after) in launches(libraries)? {
        match survey(&launch, hang_after).await {
            Ok(slots) => seen.extend(slots.into_iter().map(|slot| Seen {
                library: launch.to_string(),
                slot,
            })),
            Err(end) => {
                let why = "check the path, the environment and the device of the library";
                failed = Some(anyhow!(
                    "the tokens of {launch} cannot be listed: {end}; {why}"
                ));
            }
        }
    }
    Ok((seen, failed))
}

/// Returns every library once, with the longest time that one of its tokens allows a call.
fn launches(libraries: &Libraries) -> anyhow::Result<Vec<(Launch, Duration)>> {
    let mut found: BTreeMap<Library, Duration> = BTreeMap::new();
    if let Some(path) = &libraries.module {
        let path = std::path::absolute(path).context("--module is not a path")?;
        let env = libraries.env.iter().cloned().collect();
        found.insert(Library::Path { path, env }, HANG_AFTER);
    } else if let Some(config) = &libraries.config {
        for token in Config::load(config)?.tokens() {
            let longest = found.entry(token.module().library.clone()).or_default();
            *longest = token.hang_after().max(*longest);
        }
    }
    let has_file = |library: &Library| matches!(library, Library::Path { .. });
    let worker = match found.keys().any(has_file) {
        true => machine::worker(libraries.worker.as_deref())?,
        // Sidecars bring their own worker.
        false => PathBuf::new(),
    };
    let worker: &Path = &worker;
    let all = found.into_iter();
    Ok(all
        .map(|(library, hang_after)| (launch(&library, worker), hang_after))
        .collect())
}

/// Returns the token that the user names, or the only one.
async fn one(asked: &OneToken) -> anyhow::Result<Seen> {
    let (mut seen, failed) = look(&asked.libraries).await?;
    let names: Vec<_> = seen
        .iter()
        .map(|one| shown(record::name(&one.slot)))
        .collect();
    if let Some(name) = &asked.token {
        let wanted = Wanted::parse(name)?;
        seen.retain(|one| wanted.matches(&one.slot));
    }
    match (seen.pop(), failed) {
        (Some(one), _) if seen.is_empty() => Ok(one),
        (Some(_), _) => bail!(
            "there are several such tokens; name one of {}",
            first_of(MOST_NAMED, &names)
        ),
        (None, Some(failed)) => Err(failed),
        (None, None) => {
            ensure!(
                !names.is_empty(),
                "the library shows no token; see to its device"
            );
            bail!(
                "there is no such token; name one of {}",
                first_of(MOST_NAMED, &names)
            )
        }
    }
}

/// How the user names a token.
enum Wanted<'a> {
    Uri(Box<hsm::TokenSelector>),
    Name(&'a str),
}

impl<'a> Wanted<'a> {
    fn parse(name: &'a str) -> anyhow::Result<Self> {
        if !name.starts_with("pkcs11:") {
            return Ok(Self::Name(name));
        }
        let uri: Uri = name
            .parse()
            .context("the URI of the token is not accepted")?;
        let token = uri.token().context("the URI names no token")?;
        Ok(Self::Uri(Box::new(token)))
    }

    fn matches(&self, slot: &SeenSlot) -> bool {
        slot.token.as_ref().is_ok_and(|token| match self {
            Self::Uri(selector) => selector.matches(&token.info),
            Self::Name(name) => token.info.label == *name || token.info.serial == *name,
        })
    }
}
