//! The accepted findings of the linters, each with the reason.

use super::linters::{Finding, Linter};

/// Accepted findings of one kind.
pub(super) struct Exception {
    pub(super) linter: Linter,
    code: &'static str,
    shapes: &'static [&'static str],
    pub(super) reason: &'static str,
}

impl Exception {
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        self.shapes.iter().map(|shape| Finding {
            shape: (*shape).to_owned(),
            code: self.code.to_owned(),
        })
    }
}

/// A shape that a linter cannot read.
pub(super) struct Unreadable {
    pub(super) linter: Linter,
    pub(super) shape: &'static str,
    pub(super) reason: &'static str,
}

pub(super) const UNREADABLE: &[Unreadable] = &[Unreadable {
    linter: Linter::Pkilint,
    shape: "an-extension-with-a-large-arc",
    reason: "the decoder of pkilint 0.13.3 fails on a second arc above 39, which X.660 allows below the first arc 2",
}];

/// Shapes that Go does not verify: name, error, and reason.
pub(super) const NOT_IN_GO: &[(&str, &str, &str)] = &[
    ("by-ml-dsa-44", UNKNOWN_AUTHORITY, NO_ML_DSA),
    ("by-ml-dsa-65", UNKNOWN_AUTHORITY, NO_ML_DSA),
    ("by-ml-dsa-87", UNKNOWN_AUTHORITY, NO_ML_DSA),
];
pub(super) const UNKNOWN_AUTHORITY: &str = "x509: certificate signed by unknown authority";
const NO_ML_DSA: &str = "crypto/x509 of Go 1.26 cannot verify ML-DSA signatures";

pub(super) const EXCEPTIONS: &[Exception] = &[
    Exception {
        linter: Linter::Pkilint,
        code: "itu.invalid_asn1_syntax",
        shapes: &["strings-as-in-the-csr"],
        reason: "the profile keeps the CSR's octets, and the CSR's country is not a PrintableString, and its \
                 organisation is an IA5String",
    },
    Exception {
        linter: Linter::Zlint,
        code: "e_subject_dn_country_not_printable_string",
        shapes: &["strings-as-in-the-csr"],
        reason: "the profile keeps the CSR's octets, as above",
    },
    Exception {
        linter: Linter::Pkilint,
        code: "pkix.name_domain_components_invalid_domain_name",
        shapes: &["strings-of-the-right-types"],
        reason: "the CSR has a single domain component, which is not a domain name; the attributes of a subject are \
                 left to the requester and `subject.allowedAttributes`",
    },
    Exception {
        linter: Linter::Pkilint,
        code: "pkix.invalid_domain_name_syntax",
        shapes: &["every-type-of-name"],
        reason: "a wildcard and an underscore, which RFC 5280 does not know; RFC 9525 has the wildcard, the profile asks for \
                 underscores",
    },
    Exception {
        linter: Linter::Zlint,
        code: "e_rfc_dnsname_underscore_in_sld",
        shapes: &["every-type-of-name"],
        reason: "the profile asks for underscores, as names of services have them",
    },
    Exception {
        linter: Linter::Pkilint,
        code: "pkix.invalid_uri_syntax",
        shapes: &["a-spiffe-workload"],
        reason: "pkilint does not know the scheme spiffe; the URI is valid by RFC 3986",
    },
    Exception {
        linter: Linter::Pkilint,
        code: "pkix.certificate_skid_end_entity_missing",
        shapes: &["without-a-key-identifier"],
        reason: "the profile leaves out the subject key identifier, which RFC 5280, 4.2.1.2 only recommends (SHOULD)",
    },
    Exception {
        linter: Linter::Zlint,
        code: "w_ext_subject_key_identifier_missing_sub_cert",
        shapes: &["without-a-key-identifier"],
        reason: "the profile leaves out the subject key identifier, as above",
    },
    Exception {
        linter: Linter::Pkilint,
        code: "pkix.certificate_policies_policy_has_qualifier",
        shapes: &["published"],
        reason: "the profile gives the URL of a practice statement; RFC 5280, 4.2.1.4 recommends to leave it out",
    },
    Exception {
        linter: Linter::Pkilint,
        code: "pkix.extended_key_usage_extension_with_timestamping_not_critical",
        shapes: &["other-usages"],
        reason: "RFC 3161, 2.3 wants the extension critical and the purpose alone; no profile makes certificates of \
                 timestamping authorities, whose CertificateRequest cannot say so",
    },
    Exception {
        linter: Linter::Pkilint,
        code: "pkix.signature_verification_failed",
        shapes: &[
            "by-rsa-pss-sha256",
            "by-rsa-pss-sha384",
            "by-rsa-pss-sha512",
        ],
        reason: "pkilint 0.13.3 does not tell its verifier the padding and takes PSS for PKCS#1 v1.5; OpenSSL and webpki \
                 verify the same signatures",
    },
    Exception {
        linter: Linter::Pkilint,
        code: "pkix.unsupported_algorithm",
        shapes: &["by-ml-dsa-44", "by-ml-dsa-65", "by-ml-dsa-87"],
        reason: "pkilint does not verify ML-DSA; webpki verifies the same signatures",
    },
];
