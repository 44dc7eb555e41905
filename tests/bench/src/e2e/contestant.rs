//! The contestants and what each is compared with.

use std::fmt;

use anyhow::{Context as _, Error};

use crate::write::Write;

/// A program that turns approved requests into certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contestant {
    /// Our controller with its worker and a SoftHSM token.
    Ours { key: Key, events: bool },
    /// cert-manager's CA issuer, its P-256 key in memory. It always writes Events.
    CertManager,
    /// The limit: a program that signs nothing.
    Limit { write: Write, events: bool },
}

/// The kind of the issuing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    P256,
    Rsa2048,
}

/// The fastest limit, with which the others are compared.
const FASTEST: Write = Write::Put;

/// All contestants in the order of the tables.
pub(crate) const ALL: [Contestant; 11] = {
    use Contestant::{CertManager, Limit, Ours};
    use Key::{P256, Rsa2048};
    use Write::{Apply, Merge, Put};
    [
        Limit {
            write: Put,
            events: false,
        },
        Limit {
            write: Merge,
            events: false,
        },
        Limit {
            write: Apply,
            events: false,
        },
        Ours {
            key: P256,
            events: false,
        },
        Ours {
            key: Rsa2048,
            events: false,
        },
        Limit {
            write: Put,
            events: true,
        },
        Limit {
            write: Merge,
            events: true,
        },
        Limit {
            write: Apply,
            events: true,
        },
        Ours {
            key: P256,
            events: true,
        },
        Ours {
            key: Rsa2048,
            events: true,
        },
        CertManager,
    ]
};

impl Contestant {
    /// Returns the limit to compare with: the one that writes Events if the contestant does.
    pub(crate) fn beside(self) -> Self {
        let events = match self {
            Self::Ours { events, .. } | Self::Limit { events, .. } => events,
            Self::CertManager => true,
        };
        Self::Limit {
            write: FASTEST,
            events,
        }
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, events) = match *self {
            Self::Ours { key, events } => match key {
                Key::P256 => ("ours-p256", events),
                Key::Rsa2048 => ("ours-rsa2048", events),
            },
            Self::CertManager => ("cert-manager-ca-p256", true),
            Self::Limit { write, events } => match write {
                Write::Apply => ("limit-apply", events),
                Write::Merge => ("limit-merge", events),
                Write::Put => ("limit-put", events),
            },
        };
        f.pad(&format!("{name}{}", if events { "+events" } else { "" }))
    }
}

impl std::str::FromStr for Contestant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = ALL.into_iter().find(|known| known.to_string() == text);
        let names = || ALL.map(|known| known.to_string()).join(", ");
        found.with_context(|| format!("unknown contestant {text:?}; choose from {}", names()))
    }
}
