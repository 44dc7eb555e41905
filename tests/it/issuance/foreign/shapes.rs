//! The shapes of certificates: a profile in JSON, and a request that shows its effect.

use serde_json::{Value, json};

/// 2025-06-15T15:06:40Z.
pub(super) const NOW: i64 = 1_750_000_000;

const TLS: &[&str] = &[
    "digital signature",
    "key encipherment",
    "server auth",
    "client auth",
];

/// A profile and a request that make one certificate.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    /// The profile, as in `spec.profile`.
    pub(super) profile: fn() -> Value,
    /// The kind of the subject's key.
    pub(super) key: &'static str,
    /// Attributes of the subject.
    pub(super) subject: &'static [(&'static str, &'static str)],
    /// Alternative names by type.
    pub(super) names: &'static [(&'static str, &'static str)],
    /// An extension in the CSR: identifier and value.
    pub(super) extension: Option<(&'static [u64], &'static [u8])>,
    pub(super) usages: &'static [&'static str],
    pub(super) is_ca: bool,
    /// The number of shards of the CRLs of its issuer, if it has any.
    pub(super) crl: Option<u16>,
    pub(super) hours: Option<i64>,
    pub(super) now: i64,
}

impl Shape {
    /// The plainest shape.
    pub(super) const LEAF: Self = Self {
        name: "leaf",
        profile: || json!({}),
        key: "P-256",
        subject: &[("CN", "web")],
        names: &[("DNS", "a.example")],
        extension: None,
        usages: TLS,
        is_ca: false,
        crl: None,
        hours: None,
        now: NOW,
    };

    const CA: Self = Self {
        subject: &[("CN", "Subordinate")],
        names: &[],
        usages: &["cert sign", "crl sign"],
        is_ca: true,
        ..Self::LEAF
    };

    /// Whether the subject's key is the same in every run: RSA and ML-DSA keys are generated.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.key, "P-256" | "Ed25519")
    }
}

/// Attributes in string types that RFC 5280, section 4.1.2.4 or appendix A.1, forbids, as several libraries write them.
const WRONG_STRINGS: &[(&str, &str)] = &[
    ("C as UTF8String", "DE"),
    ("DC as UTF8String", "example"),
    ("O as IA5String", "Shop"),
    ("OU as BMPString", "Verkauf"),
    ("serialNumber as UTF8String", "4711"),
    ("CN as IA5String", "web"),
    ("emailAddress as UTF8String", "web@a.example"),
];

pub(super) const SHAPES: &[Shape] = &[
    Shape::LEAF,
    Shape {
        name: "rsa-key",
        key: "RSA-2048",
        ..Shape::LEAF
    },
    Shape {
        name: "p384-key",
        key: "P-384",
        ..Shape::LEAF
    },
    Shape {
        name: "p521-key",
        key: "P-521",
        ..Shape::LEAF
    },
    Shape {
        name: "ed25519-key",
        key: "Ed25519",
        ..Shape::LEAF
    },
    Shape {
        name: "ml-dsa-key",
        key: "ML-DSA-65",
        profile: || json!({"keys": {"mldsa": ["ML-DSA-65"]}}),
        ..Shape::LEAF
    },
    Shape {
        name: "default-usages",
        usages: &[],
        ..Shape::LEAF
    },
    Shape {
        name: "only-a-subject",
        names: &[],
        ..Shape::LEAF
    },
    Shape {
        name: "only-names",
        subject: &[],
        ..Shape::LEAF
    },
    Shape {
        name: "every-type-of-name",
        profile: || json!({"sans": {"dnsSyntax": "Underscore", "allowed": {"otherNames": ["1.3.6.1.4.1.311.20.2.3"]}}}),
        names: &[
            ("DNS", "*.a.example"),
            ("DNS", "a_b.example"),
            ("IP", "10.0.0.1"),
            ("IP", "2001:db8::1"),
            ("URI", "https://a.example:8443/b?c#d"),
            ("email", "first.last+tag@a.example"),
            ("principal", "web@shop.example"),
        ],
        ..Shape::LEAF
    },
    Shape {
        name: "an-international-subject",
        subject: &[
            ("C", "DE"),
            ("O", "Bücher Ü"),
            ("OU", "Verkauf"),
            ("CN", "laden"),
        ],
        ..Shape::LEAF
    },
    Shape {
        name: "strings-of-the-right-types",
        subject: WRONG_STRINGS,
        names: &[("DNS", "a.example"), ("email", "web@a.example")],
        ..Shape::LEAF
    },
    Shape {
        name: "strings-as-in-the-csr",
        profile: || json!({"subject": {"strings": "Verbatim"}}),
        subject: &[
            ("C as UTF8String", "DE"),
            ("O as IA5String", "Shop"),
            ("CN", "web"),
        ],
        ..Shape::LEAF
    },
    Shape {
        name: "a-fixed-subject",
        profile: || json!({"subject": {"mode": "Fixed", "fixed": {"C": ["DE"], "O": ["Shop"], "OU": ["{{namespace}}", "{{name}}"]}}}),
        ..Shape::LEAF
    },
    Shape {
        name: "an-omitted-subject",
        profile: || json!({"subject": {"mode": "Omit"}}),
        ..Shape::LEAF
    },
    Shape {
        name: "a-spiffe-workload",
        profile: || json!({"sans": {"spiffe": "Strict", "allowed": {"uri": ["spiffe://prod.example/ns/{{namespace}}/*"]}}}),
        subject: &[],
        names: &[("URI", "spiffe://prod.example/ns/shop/sa/web")],
        ..Shape::LEAF
    },
    Shape {
        name: "published",
        profile: || {
            json!({"extensions": {
                "policies": [{"oid": "1.3.6.1.4.1.99999.1", "cps": "http://ca.example/cps"}, {"oid": "1.3.6.1.4.1.99999.2"}],
                "aia": {"caIssuers": ["http://ca.example/a.cer"], "ocsp": ["http://ocsp.example/"]},
                "crlDistributionPoints": ["http://ca.example/a.crl", "http://b.example/a.crl"],
            }})
        },
        ..Shape::LEAF
    },
    Shape {
        name: "in-a-shard",
        crl: Some(4),
        ..Shape::LEAF
    },
    Shape {
        name: "in-a-crl-of-ours-and-in-others",
        profile: || json!({"extensions": {"crlDistributionPoints": ["http://ca.example/a.crl", "http://b.example/a.crl"]}}),
        crl: Some(1),
        ..Shape::LEAF
    },
    Shape {
        name: "never-revoked",
        profile: || json!({"extensions": {"noRevAvail": true}}),
        hours: Some(24),
        ..Shape::LEAF
    },
    Shape {
        name: "without-a-key-identifier",
        profile: || json!({"extensions": {"ski": "Omit"}}),
        ..Shape::LEAF
    },
    Shape {
        name: "an-extension-of-the-csr",
        profile: || json!({"extensions": {"fromCSR": ["1.3.6.1.5.5.7.1.24"]}}),
        // RFC 7633: status_request.
        extension: Some((&[1, 3, 6, 1, 5, 5, 7, 1, 24], &[0x30, 3, 2, 1, 5])),
        ..Shape::LEAF
    },
    Shape {
        name: "an-extension-with-a-large-arc",
        profile: || json!({"extensions": {"fromCSR": ["2.999.1"]}}),
        extension: Some((&[2, 999, 1], &[5, 0])),
        ..Shape::LEAF
    },
    Shape {
        name: "other-usages",
        profile: || json!({"usages": {"allowed": ["content commitment", "key agreement", "email protection", "code signing", "timestamping"]}}),
        usages: &[
            "content commitment",
            "key agreement",
            "email protection",
            "code signing",
            "timestamping",
        ],
        ..Shape::LEAF
    },
    Shape {
        name: "five-minutes",
        profile: || json!({"validity": {"default": "5m", "backdate": "30s"}}),
        ..Shape::LEAF
    },
    Shape {
        name: "ends-with-its-issuer",
        profile: || json!({"validity": {"max": "400000h", "beyondCA": "Clamp"}}),
        hours: Some(400_000),
        ..Shape::LEAF
    },
    // 2049-12-31T00:00:00Z: notBefore and notAfter have different types.
    Shape {
        name: "past-2049",
        now: 2_524_521_600,
        ..Shape::LEAF
    },
    Shape {
        name: "a-ca",
        profile: || json!({"usages": {"allowed": ["cert sign", "crl sign"]}, "ca": {"allow": true}}),
        ..Shape::CA
    },
    Shape {
        name: "a-ca-of-any-depth",
        profile: || json!({"usages": {"allowed": ["digital signature", "cert sign", "crl sign", "server auth", "client auth"]}, "ca": {"allow": true, "pathLen": -1}}),
        usages: &[
            "digital signature",
            "cert sign",
            "crl sign",
            "server auth",
            "client auth",
        ],
        ..Shape::CA
    },
    Shape {
        name: "a-constrained-ca",
        profile: || {
            json!({"usages": {"allowed": ["cert sign"]}, "ca": {"allow": true, "nameConstraints": {
                "permitted": {"dns": ["a.example"], "ip": ["10.0.0.0/8", "2001:db8::/32"]},
                "excluded": {"uri": [".evil.example"], "email": ["evil.example"]},
            }}})
        },
        usages: &["cert sign"],
        ..Shape::CA
    },
];
