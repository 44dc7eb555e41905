//! Looks for tokens in libraries, without a login: all of them, or the one that the user names.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use hsm::{Launch, SeenSlot, TokenInfo, TokenSelector, Uri, survey};

use super::machine;
use crate::{
    args::Libraries,
    config::{Config, Library, TokenConfig},
    message::{first_of, shown},
    signers::{launch, selector},
};

/// Time limit of one call into a library that no configuration describes.
const HANG_AFTER: Duration = Duration::from_secs(30);
/// Most tokens that a message names.
const MOST_NAMED: usize = 8;

/// A slot with a token, its library, and what the configuration says about it.
pub(super) struct FoundToken {
    pub(super) launch: Launch,
    pub(super) hang_after: Duration,
    pub(super) slot: SeenSlot,
    /// The first token of the configuration that is this one.
    pub(super) configured: Option<TokenConfig>,
}

/// Returns the tokens of every library, and the error of a library that cannot be used.
pub(super) async fn look(
    libraries: &Libraries,
) -> anyhow::Result<(Vec<FoundToken>, Option<anyhow::Error>)> {
    let mut seen = Vec::new();
    let mut failed = None;
    for (launch, hang_after, tokens) in launches(libraries)? {
        match survey(&launch, hang_after).await {
            Ok(slots) => seen.extend(slots.into_iter().map(|slot| FoundToken {
                configured: tokens.iter().find(|token| is_it(token, &slot)).cloned(),
                launch: launch.clone(),
                hang_after,
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

/// A library, the longest time that one of its tokens allows a call, and its tokens in the configuration.
type Loaded = (Launch, Duration, Vec<TokenConfig>);

/// Returns every library once.
fn launches(libraries: &Libraries) -> anyhow::Result<Vec<Loaded>> {
    let mut found: BTreeMap<Library, (Duration, Vec<TokenConfig>)> = BTreeMap::new();
    if let Some(path) = &libraries.module {
        let path = std::path::absolute(path).context("--module is not a path")?;
        let env = libraries.env.iter().cloned().collect();
        found.insert(Library::Path { path, env }, (HANG_AFTER, Vec::new()));
    } else if let Some(config) = &libraries.config {
        for token in Config::load(config)?.tokens() {
            let (longest, tokens) = found.entry(token.module().library.clone()).or_default();
            *longest = token.hang_after().max(*longest);
            tokens.push(token.clone());
        }
    } else {
        bail!("no library is named; give --module PATH or --config FILE");
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
        .map(|(library, (hang_after, tokens))| (launch(&library, worker), hang_after, tokens))
        .collect())
}

fn is_initialized(slot: &SeenSlot) -> bool {
    slot.token.as_ref().is_ok_and(|token| token.initialized)
}

fn is_it(token: &TokenConfig, slot: &SeenSlot) -> bool {
    let seen = slot.token.as_ref();
    seen.is_ok_and(|seen| selector(token).matches(&seen.info))
}

/// Returns the token that the user names, or the only one.
pub(super) async fn one(libraries: &Libraries, token: Option<&str>) -> anyhow::Result<FoundToken> {
    let (mut seen, failed) = look(libraries).await?;
    let names: Vec<_> = seen.iter().map(|one| shown(name(&one.slot))).collect();
    if let Some(name) = token {
        let wanted = Wanted::parse(name)?;
        seen.retain(|one| wanted.matches(&one.slot));
    } else if seen.iter().any(|one| is_initialized(&one.slot)) {
        // SoftHSM always shows one more token, which nobody has initialized.
        seen.retain(|one| is_initialized(&one.slot));
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
    Uri(Box<TokenSelector>),
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

/// Returns the URI that names the token: by label and serial number or, where it has neither, by its slot.
pub(super) fn uri(token: &TokenInfo) -> Uri {
    let told = |text: &String| (!text.is_empty()).then(|| text.clone());
    let (label, serial) = (told(&token.label), told(&token.serial));
    let has_name = label.is_some() || serial.is_some();
    Uri::of_token(TokenSelector {
        label,
        serial,
        slot_description: None,
        slot_id: (!has_name).then_some(token.slot.id),
    })
}

/// Returns the URI of a token or, if it cannot be read, its slot.
fn name(slot: &SeenSlot) -> String {
    match &slot.token {
        Ok(token) => uri(&token.info).to_string(),
        Err(_) => slot.slot.to_string(),
    }
}
