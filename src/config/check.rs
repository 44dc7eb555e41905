//! Checks the raw configuration. Each rule has its own [`Problem`].

use std::{
    collections::BTreeMap,
    num::{NonZeroU8, NonZeroU16},
    path::PathBuf,
    time::Duration,
};

use serde_saphyr::{Location, Spanned};

use super::{
    Config, Grant, Library, LogSettings, Module, PinSource, TokenConfig, TokenSelector,
    UNNAMED_CLUSTER, checkpoint_key,
    error::{Problem, Wrong},
    field::{checked, or_default},
    grant::{Grantee, Labels, is_name, namespace_name},
    raw::{RawAudit, RawConfig, RawGrant, RawModule, RawPinFrom, RawSecretRef, RawToken},
};
use crate::duration::GoDuration;

const MAX_SESSIONS: u16 = 256;
const DEFAULT_HANG_AFTER: GoDuration = GoDuration::from_secs(30);
const MIN_HANG_AFTER: Duration = Duration::from_secs(1);
/// Longest `hangAfter`. During a longer login other replicas would take its holder for lost (`crate::pins`).
pub const MAX_HANG_AFTER: Duration = Duration::from_secs(60);
const MAX_REJECTED_LOGINS: u8 = 2;
/// File name of the PIN record, beside the PIN file. It does not depend on the PIN file's name, so that another PIN file in
/// the same folder does not evade the record.
pub(crate) const PIN_RECORD: &str = "pkcs11-issuer-pin-record.json";

impl TryFrom<RawConfig> for Config {
    type Error = Wrong;

    fn try_from(raw: RawConfig) -> Result<Self, Wrong> {
        let RawConfig {
            modules: raw_modules,
            tokens: raw_tokens,
            audit:
                RawAudit {
                    cluster,
                    checkpoints,
                    sinks,
                    on_failure,
                },
        } = raw;
        let cluster = cluster.map(|cluster| {
            named(&cluster.value)
                .map_err(|wrong| wrong.within("audit.cluster", cluster.referenced))?;
            Ok(cluster.value)
        });
        let cluster = cluster.transpose()?;
        let log = LogSettings::checked(sinks, on_failure)?;
        let mut modules = BTreeMap::new();
        for (name, raw) in raw_modules {
            let place = |wrong: Wrong| wrong.within(format_args!("modules.{name}"), raw.referenced);
            named(&name).map_err(place)?;
            let module = module(&name, raw.value).map_err(place)?;
            modules.insert(name, module);
        }
        if raw_tokens.is_empty() {
            return Err(Wrong::new("tokens", Location::UNKNOWN, Problem::NoTokens));
        }
        let mut tokens = BTreeMap::new();
        let mut seen: BTreeMap<(Library, TokenSelector), String> = BTreeMap::new();
        for (name, raw) in raw_tokens {
            let place = |wrong: Wrong| wrong.within(format_args!("tokens.{name}"), raw.referenced);
            named(&name).map_err(place)?;
            let token = token(&name, raw.value, &modules).map_err(place)?;
            let known_as = seen.insert(
                (token.module.library.clone(), token.selector.clone()),
                name.clone(),
            );
            if let Some(other) = known_as {
                return Err(place(Wrong::new(
                    "",
                    Location::UNKNOWN,
                    Problem::SameToken(other),
                )));
            }
            tokens.insert(name, token);
        }
        let checkpoints = checkpoints.map(|raw| {
            let place = raw.referenced;
            if cluster.is_none() {
                let problem = Problem::CheckpointsCluster;
                return Err(Wrong::new("audit.checkpoints", place, problem));
            }
            checkpoint_key::checked(raw.value, &tokens)
                .map_err(|wrong| wrong.within("audit.checkpoints", place))
        });
        Ok(Self {
            checkpoints: checkpoints.transpose()?,
            tokens,
            cluster: cluster.unwrap_or_else(|| UNNAMED_CLUSTER.to_owned()),
            log,
            sha256: String::new(),
        })
    }
}

fn module(name: &str, raw: RawModule) -> Result<Module, Wrong> {
    let RawModule { path, env, socket } = raw;
    let wrong = |field, problem| Wrong::new(field, Location::UNKNOWN, problem);
    for (variable, value) in &env {
        if variable.is_empty() || variable.contains(['=', '\0']) {
            return Err(wrong("env", Problem::EnvName(variable.clone())));
        }
        if value.contains('\0') {
            return Err(Wrong::new(
                format_args!("env.{variable}"),
                Location::UNKNOWN,
                Problem::EnvValue,
            ));
        }
    }
    let library = match (path, socket) {
        (Some(path), None) => Library::Path {
            path: absolute(path).map_err(|problem| wrong("path", problem))?,
            env,
        },
        (None, Some(_)) if !env.is_empty() => return Err(wrong("env", Problem::EnvOfSocket)),
        (None, Some(socket)) => {
            Library::Socket(absolute(socket).map_err(|problem| wrong("socket", problem))?)
        }
        (Some(_), Some(_)) | (None, None) => return Err(wrong("", Problem::ModuleKind)),
    };
    Ok(Module {
        name: name.to_owned(),
        library,
    })
}

fn token(
    name: &str,
    raw: RawToken,
    modules: &BTreeMap<String, Module>,
) -> Result<TokenConfig, Wrong> {
    let RawToken {
        module,
        label,
        serial,
        slot_description,
        slot_id,
        pin_file,
        pin_record,
        pin_secret_ref,
        pin_from,
        sessions,
        hang_after,
        max_rejected_logins,
        keys,
        grants,
    } = raw;
    let module = checked("module", module, |name| {
        let known = || {
            modules
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        };
        modules
            .get(&name)
            .cloned()
            .ok_or_else(|| Problem::UnknownModule {
                name,
                known: known(),
            })
    })?;
    let pin = pin_source(pin_file, pin_record, pin_secret_ref, pin_from)?;
    Ok(TokenConfig {
        name: name.to_owned(),
        module,
        selector: selector(label, serial, slot_description, slot_id)?,
        sessions: sessions
            .map(|count| {
                checked("sessions", count, |count| {
                    NonZeroU16::new(count)
                        .filter(|count| count.get() <= MAX_SESSIONS)
                        .ok_or(Problem::Sessions(count))
                })
            })
            .transpose()?,
        hang_after: or_default("hangAfter", hang_after, DEFAULT_HANG_AFTER, |limit| {
            limit
                .unsigned()
                .filter(|limit| (MIN_HANG_AFTER..=MAX_HANG_AFTER).contains(limit))
                .ok_or(Problem::HangAfter(limit))
        })?,
        max_rejected_logins: or_default(
            "maxRejectedLogins",
            max_rejected_logins,
            MAX_REJECTED_LOGINS,
            |count| {
                NonZeroU8::new(count)
                    .filter(|count| count.get() <= MAX_REJECTED_LOGINS)
                    .ok_or(Problem::MaxRejectedLogins(count))
            },
        )?,
        keys: keys.try_into()?,
        grants: token_grants(grants, &pin)?,
        pin,
    })
}

fn selector(
    label: Option<Spanned<String>>,
    serial: Option<Spanned<String>>,
    slot_description: Option<Spanned<String>>,
    slot_id: Option<Spanned<u64>>,
) -> Result<TokenSelector, Wrong> {
    // PKCS#11 3.1, 3.2: texts are padded with blanks to a fixed length, so a value that ends in a blank never matches.
    let fits =
        |text: &str, length: usize| (1..=length).contains(&text.len()) && !text.ends_with(' ');
    match (label, serial, slot_description, slot_id) {
        (Some(label), None, None, None) => checked("label", label, |label| {
            if fits(&label, 32) {
                Ok(TokenSelector::Label(label))
            } else {
                Err(Problem::Label)
            }
        }),
        (None, Some(serial), None, None) => checked("serial", serial, |serial| {
            if fits(&serial, 16) {
                Ok(TokenSelector::Serial(serial))
            } else {
                Err(Problem::Serial)
            }
        }),
        (None, None, Some(text), None) => checked("slotDescription", text, |text| {
            if fits(&text, 64) {
                Ok(TokenSelector::SlotDescription(text))
            } else {
                Err(Problem::SlotDescription)
            }
        }),
        (None, None, None, Some(id)) => Ok(TokenSelector::SlotId(id.value)),
        (None, None, None, None)
        | (Some(_), Some(_), ..)
        | (Some(_), _, Some(_), _)
        | (Some(_), .., Some(_))
        | (_, Some(_), Some(_), _)
        | (_, Some(_), _, Some(_))
        | (.., Some(_), Some(_)) => Err(Wrong::new("", Location::UNKNOWN, Problem::TokenSelector)),
    }
}

fn pin_source(
    file: Option<Spanned<PathBuf>>,
    record: Option<Spanned<PathBuf>>,
    secret: Option<RawSecretRef>,
    from: Option<Spanned<RawPinFrom>>,
) -> Result<PinSource, Wrong> {
    if let (None, Some(record)) = (&file, &record) {
        return Err(Wrong::new(
            "pinRecord",
            record.referenced,
            Problem::PinRecord,
        ));
    }
    match (file, secret, from) {
        (Some(file), None, None) => {
            let path = checked("pinFile", file, absolute)?;
            let record = match record {
                Some(record) => checked("pinRecord", record, absolute)?,
                None => path.with_file_name(PIN_RECORD),
            };
            Ok(PinSource::File { path, record })
        }
        (None, Some(RawSecretRef { name, key }), None) => Ok(PinSource::Secret {
            name: checked("pinSecretRef.name", name, secret_part)?,
            key: checked("pinSecretRef.key", key, secret_part)?,
        }),
        (None, None, Some(from)) => checked(
            "pinFrom",
            from,
            |RawPinFrom {
                 namespace,
                 cluster_issuers,
             }| {
                match (namespace, cluster_issuers) {
                    (None, true) => Ok(PinSource::ClusterIssuers),
                    (Some(namespace), false) => namespace_name(namespace).map(PinSource::IssuersIn),
                    (Some(_), true) | (None, false) => Err(Problem::PinFrom),
                }
            },
        ),
        (None, None, None) => Ok(PinSource::None),
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            Err(Wrong::new("", Location::UNKNOWN, Problem::PinSource))
        }
    }
}

/// Checks the grants. Without grants, the PIN's owner may use all keys; if the owner is the operator, cluster issuers may.
fn token_grants(raw: Option<Vec<Spanned<RawGrant>>>, pin: &PinSource) -> Result<Vec<Grant>, Wrong> {
    let owner = owner(pin);
    let Some(raw) = raw else {
        return Ok(vec![Grant::of_all_keys(
            owner.unwrap_or(Grantee::ClusterIssuers),
        )]);
    };
    if raw.is_empty() {
        return Err(Wrong::new("grants", Location::UNKNOWN, Problem::NoGrants));
    }
    let mut grants = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let place = |wrong: Wrong| wrong.within(format_args!("grants[{index}]"), raw.referenced);
        let grant = Grant::try_from(raw.value).map_err(place)?;
        if let Some(owner) = owner.as_ref().filter(|owner| *owner != grant.grantee()) {
            let owner = match owner {
                Grantee::ClusterIssuers => "the cluster issuers".to_owned(),
                Grantee::Namespaces { names, .. } => {
                    format!("namespace {}", names.clone().unwrap_or_default().join(", "))
                }
            };
            return Err(place(Wrong::new(
                "",
                Location::UNKNOWN,
                Problem::GrantBesideOwner { owner },
            )));
        }
        grants.push(grant);
    }
    Ok(grants)
}

/// Returns the only issuers that the token's keys can be granted to; `None` if the operator provides the PIN.
fn owner(pin: &PinSource) -> Option<Grantee> {
    match pin {
        PinSource::None | PinSource::File { .. } | PinSource::Secret { .. } => None,
        PinSource::ClusterIssuers => Some(Grantee::ClusterIssuers),
        PinSource::IssuersIn(namespace) => Some(Grantee::Namespaces {
            names: Some(vec![namespace.clone()]),
            labels: Labels::new(),
        }),
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, Problem> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Problem::RelativePath(path))
    }
}

fn named(name: &str) -> Result<(), Wrong> {
    if is_name(name) {
        Ok(())
    } else {
        Err(Wrong::new(
            "",
            Location::UNKNOWN,
            Problem::Name(name.to_owned()),
        ))
    }
}

/// Checks the name of a Secret or of a key in it. Kubernetes allows at most 253 letters, digits, `-`, `_` and `.` in both;
/// the API server enforces the stricter rules for names.
fn secret_part(text: String) -> Result<String, Problem> {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    let fits =
        (1..=253).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != "..";
    if fits {
        Ok(text)
    } else {
        Err(Problem::SecretRef(text))
    }
}
