//! Which usages a profile admits, and that the CSR asks for the same.

use der::flagset::FlagSet;
use x509_cert::ext::pkix::KeyUsages;

use const_oid::{ObjectIdentifier, db::rfc5280::ANY_EXTENDED_KEY_USAGE};

use super::{Limits, ProfileError};
use crate::issuance::{
    claim::Role,
    csr::VerifiedCsr,
    refusal::{Refusal, RefusalReason},
    usage::{Usage, Usages},
};

/// What keys may be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRules {
    /// The usages that may be asked for.
    pub allowed: Vec<Usage>,
    /// Purposes without a word of cert-manager's, which only a CSR can ask for.
    pub extra: Vec<ObjectIdentifier>,
    /// What becomes of a usage that the kind of key cannot have.
    pub incompatible: Incompatible,
}

impl Default for UsageRules {
    fn default() -> Self {
        Self {
            allowed: vec![
                Usage::DIGITAL_SIGNATURE,
                Usage::KEY_ENCIPHERMENT,
                Usage::SERVER_AUTH,
                Usage::CLIENT_AUTH,
            ],
            extra: Vec::new(),
            incompatible: Incompatible::Normalize,
        }
    }
}

/// What becomes of a usage that the kind of key cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incompatible {
    /// It is left out: cert-manager asks for key encipherment with every key.
    Normalize,
    /// The request is refused.
    Reject,
}

impl UsageRules {
    /// Drops the usages that are not granted.
    pub(super) fn narrow(&mut self, limits: &Limits) -> Result<(), ProfileError> {
        let Some(granted) = &limits.usages else {
            return Ok(());
        };
        self.allowed.retain(|usage| granted.contains(usage));
        self.extra
            .retain(|&purpose| granted.contains(&Usage::Extended(purpose)));
        if self.allowed.is_empty() && self.extra.is_empty() {
            return Err(ProfileError::new(
                "usages.allowed",
                "the token's grant allows none of these usages",
            ));
        }
        Ok(())
    }

    /// Reads the words of the request; cert-manager's default where there are none. A certificate authority signs
    /// certificates and CRLs whatever the list says, nobody else signs certificates.
    pub(super) fn read(&self, words: &[String], is_ca: bool) -> Result<Usages, Refusal> {
        let mut usages: Usages = if words.is_empty() {
            [Usage::DIGITAL_SIGNATURE, Usage::KEY_ENCIPHERMENT]
                .into_iter()
                .map(|usage| self.permit(usage, usage.word().unwrap_or_default(), is_ca))
                .collect::<Result<_, _>>()?
        } else {
            words
                .iter()
                .map(|word| match Usage::parse(word) {
                    Some(usage) => self.permit(usage, word, is_ca),
                    None => Err(self.refuse(&format!("usage {word:?} is unknown"))),
                })
                .collect::<Result<_, _>>()?
        };
        if is_ca {
            // RFC 5280, section 4.2.1.9: cA must go with keyCertSign; cert-manager adds it to the CSR too.
            usages.key |= KeyUsages::KeyCertSign;
        }
        Ok(usages)
    }

    fn permit(&self, usage: Usage, word: &str, is_ca: bool) -> Result<Usage, Refusal> {
        let of_authorities = [KeyUsages::KeyCertSign, KeyUsages::CRLSign].map(Usage::Key);
        if usage == Usage::Key(KeyUsages::KeyCertSign) && !is_ca {
            Err(self.refuse(&format!("usage {word:?} goes with isCA only")))
        } else if self.allowed.contains(&usage) || (is_ca && of_authorities.contains(&usage)) {
            Ok(usage)
        } else {
            Err(self.refuse(&format!("usage {word:?} is not given by this issuer")))
        }
    }

    fn refuse(&self, problem: &str) -> Refusal {
        let allowed: Vec<_> = self
            .allowed
            .iter()
            .filter_map(|usage| usage.word())
            .collect();
        Refusal::new(
            RefusalReason::UsageNotAllowed,
            format!("{problem}; ask for some of: {}", allowed.join(", ")),
        )
    }

    /// What the CSR asks for must be what the request asks for, compared as sets. What only the CSR names
    /// nobody has approved: approvers look at the request. The exception are purposes that no word of a
    /// request can name; those must stand in the profile, and are added here.
    pub(super) fn match_csr(
        &self,
        csr: &VerifiedCsr,
        mut wanted: Usages,
    ) -> Result<Usages, Refusal> {
        let asked = csr.asked();
        if asked.key_usage.is_some_and(|bits| bits != wanted.key) {
            return Err(mismatch("keyUsage"));
        }
        if let Some(purposes) = &asked.extended_key_usage {
            let (named, extra): (Vec<_>, Vec<_>) = purposes
                .iter()
                .copied()
                .partition(|&oid| Usage::Extended(oid).word().is_some());
            if let Some(unknown) = extra.iter().find(|oid| !self.extra.contains(oid)) {
                return Err(Refusal::new(
                    RefusalReason::UsageNotAllowed,
                    format!(
                        "the CSR asks for extended key usage {unknown}, which this issuer does not give"
                    ),
                ));
            }
            let same = named.iter().all(|oid| wanted.extended.contains(oid))
                && wanted.extended.iter().all(|oid| named.contains(oid));
            if !same {
                return Err(mismatch("extKeyUsage"));
            }
            for oid in extra {
                if !wanted.extended.contains(&oid) {
                    wanted.extended.push(oid);
                }
            }
        }
        // RFC 5280, section 4.2.1.12: any beside others restricts nothing, and verifiers differ over it.
        if wanted.extended.len() > 1 && wanted.extended.contains(&ANY_EXTENDED_KEY_USAGE) {
            return Err(Refusal::new(
                RefusalReason::UsageNotAllowed,
                "usage \"any\" is asked for beside others; ask for it alone or leave it out",
            ));
        }
        Ok(wanted)
    }

    /// Drops the usages that the kind of key cannot have, or refuses them.
    pub(super) fn fit(
        &self,
        csr: &VerifiedCsr,
        wanted: FlagSet<KeyUsages>,
    ) -> Result<FlagSet<KeyUsages>, Refusal> {
        let key = csr.public_key().algorithm();
        let mut kept = wanted & key.usages();
        // RFC 5280, section 4.2.1.3: undefined without keyAgreement.
        if !kept.contains(KeyUsages::KeyAgreement) {
            kept -= KeyUsages::EncipherOnly | KeyUsages::DecipherOnly;
        }
        let lost = kept != wanted && self.incompatible == Incompatible::Reject;
        if lost || (kept.is_empty() && !wanted.is_empty()) {
            return Err(Refusal::new(
                RefusalReason::UsageNotAllowed,
                format!(
                    "the {key} key cannot have every key usage that is asked for; ask for digital signature"
                ),
            ));
        }
        Ok(kept)
    }
}

impl Limits {
    /// Judges whether a leaf states what it may be used for, and gives an authority the purposes of its grant.
    ///
    /// RFC 5280, sections 4.2.1.3 and 4.2.1.12: a certificate without one of the extensions is not limited by it, so that
    /// under a grant of usages none may be missing.
    pub(super) fn state(&self, usages: Usages, role: Role) -> Result<Usages, Refusal> {
        let Some(granted) = &self.usages else {
            return Ok(usages);
        };
        let purposes = self.purposes();
        let missing = match role {
            Role::Authority => {
                return Ok(Usages {
                    extended: purposes.unwrap_or(usages.extended),
                    ..usages
                });
            }
            Role::Leaf if usages.key.is_empty() => "a key usage",
            Role::Leaf if usages.extended.is_empty() && purposes.is_some() => {
                "an extended key usage"
            }
            Role::Leaf => return Ok(usages),
        };
        let words: Vec<_> = granted.iter().filter_map(|usage| usage.word()).collect();
        Err(Refusal::new(
            RefusalReason::UsageNotAllowed,
            format!(
                "the token's grant limits usages, and a certificate without {missing} may be used for anything; ask for some of: {}",
                words.join(", ")
            ),
        ))
    }
}

/// The CSR and the request differ.
pub(super) fn mismatch(what: &str) -> Refusal {
    Refusal::new(
        RefusalReason::CsrRequestMismatch,
        format!(
            "the CSR's {what} differs from what the request asks for; leave it out of the CSR or make both the same"
        ),
    )
}
