//! Reasons to refuse a request: a closed list of slugs, the same in condition, Event, metric and issuance log.

use super::Fault;
use crate::message::shown;

/// Declares each reason once, and generates the enum, the slugs and the list of all reasons.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident = $slug:literal,)+) => {
        /// Stable reason of a refusal. The list is closed, so that a metric label can carry it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RefusalReason {
            $($(#[$doc])+ $variant,)+
        }

        impl RefusalReason {
            /// Every reason, roughly in the order in which the pipeline checks for them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the slug: lower-case words joined by hyphens. It never changes.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $slug,)+
                }
            }
        }
    };
}

reasons! {
    /// The requester may not use this namespaced issuer.
    ReferenceDenied = "reference-denied",
    /// The issuer's namespaceSelector does not select the request's namespace.
    NamespaceNotSelected = "namespace-not-selected",
    /// The issuer's rules depend on a namespace, and the request belongs to none.
    NamespaceUnknown = "namespace-unknown",
    /// The request was not signed within the issuer's `maxPending`.
    PendingTooLong = "pending-too-long",
    /// The issuer does not issue certificates to pods.
    PodsNotServed = "pods-not-served",
    /// The pod's author passes an annotation that we do not know.
    UnknownAnnotation = "unknown-annotation",
    /// The text is not one PEM block with a certificate request.
    BadPem = "bad-pem",
    /// More than one PEM block.
    MultiplePemBlocks = "multiple-pem-blocks",
    /// The text, or the certificate that would result, is larger than we handle.
    TooLarge = "too-large",
    /// The block is not the DER encoding of a certification request (RFC 2986, section 4).
    BadDer = "bad-der",
    /// The version is not 0 (RFC 2986, section 4.1).
    BadCsrVersion = "bad-csr-version",
    /// An attribute type occurs twice.
    DuplicateAttribute = "duplicate-attribute",
    /// An extension occurs twice (RFC 5280, section 4.2).
    DuplicateExtension = "duplicate-extension",
    /// The public key cannot be decoded, or is not a point of its curve.
    InvalidKey = "invalid-key",
    /// The public key is too short, its exponent too small, or its order small.
    WeakKey = "weak-key",
    /// The public key is larger than we can verify with.
    KeyTooLarge = "key-too-large",
    /// The public key is of a kind or on a curve that we do not certify.
    UnsupportedKey = "unsupported-key",
    /// The profile lists the public key as blocked.
    BlockedKey = "blocked-key",
    /// The CSR is signed with a broken hash (MD5, SHA-1).
    WeakSignatureAlgorithm = "weak-signature-algorithm",
    /// The CSR is signed with an algorithm that we do not verify.
    UnsupportedSignatureAlgorithm = "unsupported-signature-algorithm",
    /// The CSR's own signature does not verify: no proof of possession.
    BadSignature = "bad-signature",
    /// The extensions that the CSR asks for differ from those that the request asks for.
    CsrRequestMismatch = "csr-request-mismatch",
    /// The issuer's profile does not allow CA certificates.
    CaNotAllowed = "ca-not-allowed",
    /// The path lengths of the issuer's chain or the profile leave no room for this CA certificate.
    CaPathLength = "ca-path-length",
    /// The name constraints that request, profile and grant give a CA certificate contradict each other or cannot be
    /// expressed.
    CaNameConstraints = "ca-name-constraints",
    /// The issuer's profile does not allow this usage.
    UsageNotAllowed = "usage-not-allowed",
    /// The CSR asks for an extension that this certificate may not carry.
    ExtensionNotAllowed = "extension-not-allowed",
    /// A string of the subject has characters that its type does not allow.
    BadString = "bad-string",
    /// The subject's structure or length is wrong, or it is the name of a CA of the issuer's chain.
    BadSubject = "bad-subject",
    /// A subject alternative name is malformed.
    BadSan = "bad-san",
    /// The token's grant does not allow this attribute of the subject, or its value.
    SubjectNotAllowed = "subject-not-allowed",
    /// The issuer's profile or the token's grant does not allow this name.
    SanNotAllowed = "san-not-allowed",
    /// The URI is not the SPIFFE ID that the profile requires.
    BadSpiffeId = "bad-spiffe-id",
    /// The request has more subject alternative names than the profile allows.
    TooManySans = "too-many-sans",
    /// The request has neither a subject nor a subject alternative name.
    NoIdentity = "no-identity",
    /// The name constraints of the issuer's chain forbid a name.
    NameConstraints = "name-constraints",
    /// The issuer's chain does not allow this extended key usage.
    CaEkuConstraint = "ca-eku-constraint",
    /// The duration is zero, negative or below the profile's minimum.
    DurationInvalid = "duration-invalid",
    /// The duration is above the profile's maximum.
    DurationTooLong = "duration-too-long",
    /// The certificate would outlive a certificate of the issuer's chain.
    ExceedsCaValidity = "exceeds-ca-validity",
    /// The subject's key is a key of the issuer's own chain.
    IssuerKeyReuse = "issuer-key-reuse",
    /// A certificate of the issuer's chain is expired or not yet valid.
    IssuerNotValid = "issuer-not-valid",
    /// The issuer's chain is not suitable for issuing.
    IssuerInvalid = "issuer-invalid",
}

impl RefusalReason {
    /// Returns who must act.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::IssuerNotValid | Self::IssuerInvalid => Fault::Issuer,
            Self::ReferenceDenied
            | Self::NamespaceNotSelected
            | Self::NamespaceUnknown
            | Self::PendingTooLong
            | Self::PodsNotServed
            | Self::UnknownAnnotation
            | Self::BadPem
            | Self::MultiplePemBlocks
            | Self::TooLarge
            | Self::BadDer
            | Self::BadCsrVersion
            | Self::DuplicateAttribute
            | Self::DuplicateExtension
            | Self::InvalidKey
            | Self::WeakKey
            | Self::KeyTooLarge
            | Self::UnsupportedKey
            | Self::BlockedKey
            | Self::WeakSignatureAlgorithm
            | Self::UnsupportedSignatureAlgorithm
            | Self::BadSignature
            | Self::CsrRequestMismatch
            | Self::CaNotAllowed
            | Self::CaPathLength
            | Self::CaNameConstraints
            | Self::UsageNotAllowed
            | Self::ExtensionNotAllowed
            | Self::BadString
            | Self::BadSubject
            | Self::BadSan
            | Self::SubjectNotAllowed
            | Self::SanNotAllowed
            | Self::BadSpiffeId
            | Self::TooManySans
            | Self::NoIdentity
            | Self::NameConstraints
            | Self::CaEkuConstraint
            | Self::DurationInvalid
            | Self::DurationTooLong
            | Self::ExceedsCaValidity
            | Self::IssuerKeyReuse => Fault::Request,
        }
    }
}

impl std::fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: the reason for programs, and one sentence for people that names the problem and says
/// what to do. [`shown`] cuts and escapes the message, which may repeat text from the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    reason: RefusalReason,
    message: String,
}

impl Refusal {
    pub(crate) fn new(reason: RefusalReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: shown(message.into()),
        }
    }

    /// Builds the refusal of a request that the token did not sign within the issuer's `maxPending`.
    #[must_use]
    pub fn pending_too_long() -> Self {
        Self::new(
            RefusalReason::PendingTooLong,
            "the token did not sign the request within the issuer's spec.maxPending; check the token, then make a new request",
        )
    }

    /// Returns the stable reason.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        self.reason
    }

    /// Returns who must act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.reason.fault()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that explains every reason.
    const PAGE: &str = include_str!("../../docs/refusals.md");

    #[test]
    fn the_page_explains_every_reason_with_an_example_and_what_to_do() {
        let sections: Vec<_> = PAGE
            .split("\n### ")
            .skip(1)
            .filter_map(|section| section.split_once('\n'))
            .collect();
        let mut explained: Vec<_> = sections.iter().map(|(slug, _)| *slug).collect();
        let mut reasons: Vec<_> = RefusalReason::ALL.iter().map(|r| r.as_str()).collect();
        explained.sort_unstable();
        reasons.sort_unstable();
        assert_eq!(explained, reasons);
        for (slug, text) in sections {
            assert!(text.contains("\nExample: "), "{slug}");
            assert!(text.contains("\nDo: "), "{slug}");
        }
    }

    #[test]
    fn the_message_of_a_refusal_is_short_and_on_one_line() {
        let name = "\u{1b}".repeat(48 * 1024);
        let refusal = Refusal::new(RefusalReason::BadSan, format!("{name:?} is no DNS name"));
        assert!(refusal.to_string().len() <= crate::message::MAX);
        let refusal = Refusal::new(RefusalReason::BadSan, "a\nb");
        assert_eq!(refusal.to_string(), r"a\nb");
    }

    #[test]
    fn slugs_are_distinct_lower_case_words() {
        let mut slugs: Vec<_> = RefusalReason::ALL.iter().map(|r| r.as_str()).collect();
        assert!(slugs.iter().all(|slug| {
            slug.split('-')
                .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        }));
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), RefusalReason::ALL.len());
    }
}
