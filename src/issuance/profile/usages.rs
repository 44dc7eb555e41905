//! Which usages a profile admits, and the check that the CSR asks for the same.

use der::flagset::FlagSet;
use x509_cert::ext::pkix::KeyUsages;

use const_oid::db::rfc5280::ANY_EXTENDED_KEY_USAGE;

use super::{Limits, ProfileError};
use crate::issuance::{
    claim::Role,
    csr::VerifiedCsr,
    oid::Oid,
    refusal::{Refusal, RefusalReason},
    usage::{Usage, Usages},
};

/// What keys may be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRules {
    /// The usages that may be asked for.
    pub allowed: Vec<Usage>,
    /// Purposes that cert-manager has no word for, so that only a CSR can ask for them.
    pub extra: Vec<Oid>,
    /// What happens to a usage that the kind of key cannot have.
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

/// What happens to a usage that the kind of key cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incompatible {
    /// The usage is left out, because cert-manager asks for key encipherment with every key.
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
            .retain(|purpose| granted.contains(&Usage::Extended(purpose.clone())));
        if self.allowed.is_empty() && self.extra.is_empty() {
            return Err(ProfileError::new(
                "usages.allowed",
                "the token's grant allows none of these usages",
            ));
        }
        Ok(())
    }

    /// Reads the usages of the request; without any, uses cert-manager's default.
    ///
    /// A CA may sign certificates and CRLs regardless of the profile's list. A leaf may never sign certificates.
    pub(super) fn read(&self, words: &[String], is_ca: bool) -> Result<Usages, Refusal> {
        let mut usages: Usages = if words.is_empty() {
            [Usage::DIGITAL_SIGNATURE, Usage::KEY_ENCIPHERMENT]
                .into_iter()
                .map(|usage| {
                    let word = usage.word().unwrap_or_default();
                    self.permit(usage, word, is_ca)
                })
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
            Err(self.refuse(&format!("usage {word:?} requires isCA")))
        } else if self.allowed.contains(&usage) || (is_ca && of_authorities.contains(&usage)) {
            Ok(usage)
        } else {
            Err(self.refuse(&format!("this issuer does not allow usage {word:?}")))
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

    /// Checks that the CSR asks for the same usages as the request, compared as sets.
    ///
    /// Approvers look at the request, so nobody has approved a usage that only the CSR names. The exception is a purpose
    /// that no word of a request can name: the profile must list it, and it is added here.
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
                .cloned()
                .partition(|oid| Usage::Extended(oid.clone()).word().is_some());
            if let Some(unknown) = extra.iter().find(|oid| !self.extra.contains(oid)) {
                return Err(Refusal::new(
                    RefusalReason::UsageNotAllowed,
                    format!(
                        "the CSR asks for extended key usage {unknown}, which this issuer does not allow"
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
        // RFC 5280, section 4.2.1.12: "any" together with others restricts nothing, and verifiers differ over it.
        if wanted.extended.len() > 1 && wanted.extended.contains(&Oid::of(ANY_EXTENDED_KEY_USAGE)) {
            return Err(Refusal::new(
                RefusalReason::UsageNotAllowed,
                "usage \"any\" cannot be combined with others; ask for it alone or leave it out",
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
        // RFC 5280, section 4.2.1.3: these bits are undefined without keyAgreement.
        if !kept.contains(KeyUsages::KeyAgreement) {
            kept -= KeyUsages::EncipherOnly | KeyUsages::DecipherOnly;
        }
        let lost = kept != wanted && self.incompatible == Incompatible::Reject;
        if lost || (kept.is_empty() && !wanted.is_empty()) {
            return Err(Refusal::new(
                RefusalReason::UsageNotAllowed,
                format!(
                    "the {key} key cannot have all of the requested key usages; ask for digital signature"
                ),
            ));
        }
        Ok(kept)
    }
}

impl Limits {
    /// Checks that a leaf states its usages, and gives a CA certificate the purposes of the grant.
    ///
    /// A certificate without keyUsage or extKeyUsage is not limited by that extension (RFC 5280, sections 4.2.1.3 and
    /// 4.2.1.12), so neither may be missing under a grant that limits usages.
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

/// Returns the refusal of a CSR that differs from its request.
pub(super) fn mismatch(what: &str) -> Refusal {
    Refusal::new(
        RefusalReason::CsrRequestMismatch,
        format!(
            "the CSR's {what} differs from what the request asks for; leave it out of the CSR or make both the same"
        ),
    )
}
