//! Errors of the operator's configuration, with their place in the file.

use std::{fmt, io, path::PathBuf};

use serde_saphyr::Location;

use crate::duration::GoDuration;

/// Why the operator's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read the configuration {}", file.display())]
    Read {
        /// The file as it was named on the command line.
        file: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is not YAML, or has a field that is unknown, missing or of another type.
    #[error("{}:{text}", file.display())]
    Parse {
        /// The file as it was named on the command line.
        file: PathBuf,
        /// Line, column and description of the error, on one line.
        text: String,
    },
    /// The file is well-formed, and a value breaks a rule.
    #[error("{}:{}{field}: {problem}", file.display(), at(*location))]
    Check {
        /// The file as it was named on the command line.
        file: PathBuf,
        /// Place of the wrong value; unknown if the whole file lacks something.
        location: Location,
        /// Path of the field, such as `tokens.issuing.grants[0].keys[1]`.
        field: String,
        /// Broken rule, and how to correct it.
        problem: Problem,
    },
}

/// Returns `line:column: `, or a blank if the location is unknown.
fn at(location: Location) -> String {
    match (location.line(), location.column()) {
        (0, _) => " ".to_owned(),
        (line, column) => format!("{line}:{column}: "),
    }
}

/// Formats an error of the YAML reader about `text` as `line:column: field: description`.
///
/// The line itself is not shown: a PIN that was written into the file by mistake must not reach the log.
pub(super) fn one_line(text: &str, error: &serde_saphyr::Error) -> String {
    let said = error.without_snippet().to_string();
    let said = said.lines().next().unwrap_or_default();
    let Some(location) = error.location().filter(|at| at.line() != 0) else {
        return format!(" {said}");
    };
    // The reader puts the place at the end. Editors and people look for it at the start.
    let place = format!(" at line {}, column {}", location.line(), location.column());
    let said = said.strip_suffix(&place).unwrap_or(said);
    // Cut advice that is meant for programmers.
    let said = said
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or(said);
    let field = field_before(text, location).map_or_else(String::new, |field| format!("{field}: "));
    format!("{}{field}{said}", at(location))
}

/// Returns the field whose value is at that place, if both are on one line.
fn field_before(text: &str, location: Location) -> Option<&str> {
    let line = usize::try_from(location.line().checked_sub(1)?).ok()?;
    let column = usize::try_from(location.column().checked_sub(1)?).ok()?;
    let line = text.lines().nth(line)?;
    let (end, _) = line.char_indices().nth(column)?;
    let before = line.get(..end)?.trim_end().strip_suffix(':')?;
    before.rsplit([' ', ',', '{', '[']).next()
}

/// A rule that a value breaks; the text says what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Neither or both of `path` and `socket` are given.
    #[error(
        "a module has exactly one of `path` (a PKCS#11 library) and `socket` (a sidecar worker)"
    )]
    ModuleKind,
    /// A relative path.
    #[error("{} is relative: write an absolute path", .0.display())]
    RelativePath(PathBuf),
    /// `env` is combined with `socket`.
    #[error(
        "`env` is for libraries that the controller's own worker loads: set it on the sidecar's container"
    )]
    EnvOfSocket,
    /// A variable name that no environment can hold.
    #[error("{0:?} cannot be the name of an environment variable")]
    EnvName(String),
    /// A value with a NUL octet.
    #[error("the value contains a NUL octet, which no environment can hold")]
    EnvValue,
    /// No token is configured.
    #[error("no token is configured: add one, or no issuer can ever be ready")]
    NoTokens,
    /// A name that cannot be both a metric label and the value of an issuer's field.
    #[error(
        "{0:?} is not a name: use at most 63 of a-z, 0-9 and `-`, the first and last a letter or digit"
    )]
    Name(String),
    /// A token of a module that does not exist.
    #[error("no module is called {name:?}: write one of {known}")]
    UnknownModule {
        /// Module that the token names.
        name: String,
        /// Known modules, for people.
        known: String,
    },
    /// Checkpoints on a token that does not exist.
    #[error("no token is called {0}")]
    UnknownToken(String),
    /// Checkpoints without a key.
    #[error(
        "name the key that signs checkpoints: `key` (its CKA_LABEL), `keyId` (its CKA_ID in hexadecimal) or both"
    )]
    CheckpointKey,
    /// A key for checkpoints that issuers may use.
    #[error(
        "{0}, and issuers must not sign with it: give every grant of the token `keys` and `keyIds` that do not match this key"
    )]
    CheckpointKeyGranted(String),
    /// Signed checkpoints of a cluster without a name.
    #[error(
        "the key that signs checkpoints is known by the cluster's name: write audit.cluster, too"
    )]
    CheckpointsCluster,
    /// Too much or too little time between checkpoints.
    #[error("every is {0}: write 1s to 1h, or omit the field for 10s")]
    CheckpointsEvery(GoDuration),
    /// None or several of the selectors are given.
    #[error(
        "a token has exactly one of `label`, `serial` and, as a last resort, `slotDescription` and `slotId`"
    )]
    TokenSelector,
    /// A label that no token can have.
    #[error("a token's label has 1 to 32 octets and no blank at its end (PKCS#11, CK_TOKEN_INFO)")]
    Label,
    /// A serial that no token can have.
    #[error("a token's serial has 1 to 16 octets and no blank at its end (PKCS#11, CK_TOKEN_INFO)")]
    Serial,
    /// A description that no slot can have.
    #[error(
        "a slot's description has 1 to 64 octets and no blank at its end (PKCS#11, CK_SLOT_INFO)"
    )]
    SlotDescription,
    /// One token under two names.
    #[error(
        "this is the same token as {0:?}: a token has one PIN and one counter of tries, so configure it once"
    )]
    SameToken(String),
    /// More than one PIN.
    #[error(
        "a token has at most one of `pinFile`, `pinSecretRef` and `pinFrom`; without any, only keys that sign without a login can be used"
    )]
    PinSource,
    /// A PIN record without a PIN file.
    #[error(
        "`pinRecord` is for `pinFile` only: remove it (the controller keeps its record in a Secret)"
    )]
    PinRecord,
    /// Neither or both owners are given.
    #[error(
        "`pinFrom` has exactly one of `namespace` and `clusterIssuers: true`: a PIN has one owner"
    )]
    PinFrom,
    /// An empty or malformed reference.
    #[error("{0:?} cannot be the name of a Secret or of a key in it")]
    SecretRef(String),
    /// A number of sessions outside the allowed range.
    #[error("{0} sessions: write 1 to 256, or omit the field for up to 4, as the token allows")]
    Sessions(u16),
    /// A limit that would end each call at once, or that exceeds the longest login that the PIN record allows for.
    #[error(
        "hangAfter is {0}: write 1s to 60s, or omit the field for 30s; other replicas take a longer login for the login of a lost replica"
    )]
    HangAfter(GoDuration),
    /// Rules for keys that contradict each other.
    #[error(
        "`neverExtractable: Require` refuses every key that `extractable: Allow` admits: remove one of them"
    )]
    KeysContradict,
    /// A number of rejected logins that could lock the token.
    #[error(
        "maxRejectedLogins is {0}: write 1 or 2; tokens lock after as few as three rejected logins"
    )]
    MaxRejectedLogins(u8),
    /// A grant to no issuers, or to both kinds of issuers.
    #[error(
        "a grant is either to namespaces (`namespaces` with at least one, `namespaceSelector`, or both, which must then both hold) or to cluster issuers (`clusterIssuers: true`)"
    )]
    Grantee,
    /// A grant to issuers that do not own the PIN.
    #[error(
        "the token's PIN belongs to {owner} (`pinFrom`), so nobody else can be granted its keys"
    )]
    GrantBesideOwner {
        /// Owner of the PIN, for people.
        owner: String,
    },
    /// A grant without keys.
    #[error(
        "the grant names no key: give `keys` (globs on CKA_LABEL, [\"*\"] for all) or `keyIds` (CKA_ID in hexadecimal)"
    )]
    NoKeys,
    /// An empty list of grants.
    #[error(
        "the list is empty, so no issuer can use the token: omit it for the default, or remove the token"
    )]
    NoGrants,
    /// An empty glob.
    #[error("an empty pattern: write a CKA_LABEL, where `*` stands for any text")]
    EmptyPattern,
    /// A malformed CKA_ID.
    #[error("{0:?} is not a CKA_ID: write octets in hexadecimal, such as \"a1b2\"")]
    KeyId(String),
    /// A maximum duration of zero or less.
    #[error("maxDuration is {0}: write a duration above zero, such as 2160h")]
    MaxDuration(GoDuration),
    /// A malformed pattern of names or values.
    #[error("{0}")]
    Pattern(String),
    /// An unknown attribute of subjects.
    #[error(
        "{0:?} is not an attribute of subjects: write its short name, such as CN or O, or its object identifier"
    )]
    Attribute(String),
    /// An unknown usage.
    #[error(
        "{0:?} is not a usage: write one as in spec.usages of a Certificate, such as \"server auth\", or an object identifier"
    )]
    Usage(String),
    /// Usages for only one of the two extensions.
    #[error(
        "the list must have both key usages, such as \"digital signature\", and extended key usages, such as \"server auth\": a certificate without one of the extensions may be used for anything"
    )]
    HalfOfUsages,
    /// No sink for the issuance log.
    #[error("the issuance log has no sink: write `stdout: true`, a `file`, or both")]
    NoSink,
    /// A size of zero or too many octets.
    #[error("write a number of mebibytes above zero, or omit the field for no limit")]
    RotateSize,
    /// An age so short that it would make very many files.
    #[error("rotateAge is {0}: write 1m or more, or omit the field for no limit")]
    RotateAge(GoDuration),
    /// A selector that selects every namespace.
    #[error("a selector needs at least one label: for namespaces by name, write `namespaces`")]
    NoLabels,
    /// An empty list of certificates.
    #[error("the list is empty, so no certificate can be used: omit it to allow any")]
    NoCertificates,
    /// `revokeAny` where it has no meaning.
    #[error(
        "only a grant to namespaces can have it: cluster issuers have no namespace of their own"
    )]
    RevokeAny,
    /// A malformed hash of a certificate.
    #[error(
        "{0:?} is not the hash of a certificate: write sha256: and the 64 hexadecimal digits that `openssl x509 -noout -fingerprint -sha256` prints"
    )]
    Fingerprint(String),
}

/// A [`Problem`] that collects the path of its field while it propagates.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) location: Location,
    pub(super) problem: Problem,
}

impl Wrong {
    pub(super) fn new(field: impl fmt::Display, location: Location, problem: Problem) -> Self {
        Self {
            field: field.to_string(),
            location,
            problem,
        }
    }

    /// Prefixes the field with its parent. Uses the parent's location if the field has none.
    pub(super) fn within(self, parent: impl fmt::Display, location: Location) -> Self {
        let field = if self.field.is_empty() {
            parent.to_string()
        } else {
            format!("{parent}.{}", self.field)
        };
        let location = if self.location.line() == 0 {
            location
        } else {
            self.location
        };
        Self {
            field,
            location,
            ..self
        }
    }
}
