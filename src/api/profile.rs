//! `spec.profile`: the certificates that an issuer issues, as its author writes it.
//!
//! Every field has a default, and the defaults are safe. Only the `TryFrom` implementations of `check` check the values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod authority;
mod check;
mod extensions;
mod subject;

pub use authority::{CaSpec, ConstraintMode, ConstraintsSpec, EmptySubject, SubtreesSpec};
pub use extensions::{AiaSpec, ExtensionsSpec, PolicySpec, Ski};
pub use subject::{Strings, SubjectMode, SubjectSpec};

/// A duration in Go's notation, without a sign.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$";
/// A dotted object identifier.
const OID: &str = r"^[0-2](\.(0|[1-9][0-9]*))+$";

/// Certificates that the issuer issues. A grant of the operator may narrow it further. In the patterns of names,
/// `{{namespace}}` and `{{name}}` stand for the namespace and the name of the request.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProfileSpec {
    /// Validity of certificates.
    pub validity: ValiditySpec,
    /// Subject keys that are certified. Broken, weak and factorable keys are always refused.
    pub keys: KeysSpec,
    /// Usages of the keys.
    pub usages: UsagesSpec,
    /// Treatment of the CSR's subject.
    pub subject: SubjectSpec,
    /// Subject alternative names that are certified.
    pub sans: SansSpec,
    /// CA certificates.
    pub ca: CaSpec,
    /// Further extensions of certificates.
    pub extensions: ExtensionsSpec,
    /// Source of serial numbers.
    pub serial: SerialSpec,
}

/// Source of serial numbers. They have 16 octets, 126 bits of them random.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SerialSpec {
    /// OS uses the random number generator of the operating system. HSM uses the token's, at the cost of one more call per
    /// certificate. Default: OS.
    pub source: SerialSource,
}

/// A random number generator.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SerialSource {
    /// The generator of the operating system.
    #[default]
    Os,
    /// The generator of the token: `C_GenerateRandom`.
    Hsm,
}

/// Validity of certificates. Durations are numbers with the units h, m and s: `2160h`, `1h30m`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ValiditySpec {
    /// Duration for a request that asks for none; never above the grant's. Default: 2160h, 90 days.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub default: String,
    /// Shortest duration that a request may ask for. Default: 5m.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub min: String,
    /// Longest duration that a request may ask for; never above the grant's. Default: 8760h, a year.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub max: String,
    /// How far the validity is moved into the past, for clocks that are behind. The duration stays as requested; the move
    /// is at most a tenth of it. Default: 1m.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub backdate: String,
    /// Treatment of a request that would outlive a certificate of the issuer's chain, the root included. Reject refuses it.
    /// Clamp ends the certificate when the first certificate of the chain ends. Default: Reject.
    #[serde(rename = "beyondCA")]
    pub beyond_ca: BeyondCa,
    /// With Clamp, the shortest validity of a certificate; requests that would get less are refused. Without such a floor,
    /// certificates would be renewed ever faster towards the end. Default: 1h.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub min_remaining: String,
}

/// Treatment of a request that would outlive a certificate of the issuer's chain.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum BeyondCa {
    /// The request is refused.
    #[default]
    Reject,
    /// The certificate ends when the first certificate of the chain ends.
    Clamp,
}

/// Subject keys that are certified.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeysSpec {
    /// RSA keys. Their exponent must be 65537.
    pub rsa: RsaSpec,
    /// Elliptic curves of ECDSA keys. Default: all three.
    #[schemars(length(max = 10))]
    pub ecdsa: Vec<Curve>,
    /// Whether Ed25519 keys are certified. Default: true.
    pub ed25519: bool,
    /// Parameter sets of ML-DSA keys. cert-manager itself can neither make nor read such a request yet. Default: none.
    #[schemars(length(max = 10))]
    pub mldsa: Vec<MlDsa>,
    /// SHA-256 hashes of the SubjectPublicKeyInfo (DER) of keys that are never certified, in hexadecimal. Default: none.
    #[serde(rename = "blockedSpkiSha256")]
    #[schemars(
        length(max = 1000),
        inner(length(max = 64), regex(pattern = "^[0-9a-fA-F]{64}$"))
    )]
    pub blocked_spki_sha256: Vec<String>,
}

/// RSA keys that are certified.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RsaSpec {
    /// Shortest modulus in bits. Default: 2048.
    #[schemars(range(min = 2048, max = 8192))]
    pub min_bits: u16,
    /// Longest modulus in bits. Default: 8192.
    #[schemars(range(min = 2048, max = 8192))]
    pub max_bits: u16,
}

/// An elliptic curve of NIST.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Curve {
    /// secp256r1.
    #[serde(rename = "P-256")]
    P256,
    /// secp384r1.
    #[serde(rename = "P-384")]
    P384,
    /// secp521r1.
    #[serde(rename = "P-521")]
    P521,
}

/// A parameter set of ML-DSA (FIPS 204).
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum MlDsa {
    /// Security category 2.
    #[serde(rename = "ML-DSA-44")]
    MlDsa44,
    /// Security category 3.
    #[serde(rename = "ML-DSA-65")]
    MlDsa65,
    /// Security category 5.
    #[serde(rename = "ML-DSA-87")]
    MlDsa87,
}

/// Usages of the keys.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UsagesSpec {
    /// Usages that a request may ask for, by their cert-manager names. Default: digital signature, key encipherment, server
    /// auth, client auth.
    #[schemars(length(max = 30), inner(length(max = 50)))]
    pub allowed: Vec<String>,
    /// Extended key usages without a cert-manager name, as object identifiers; a CSR may ask for them. Default: none.
    #[serde(rename = "extraEKU")]
    #[schemars(length(max = 30), inner(length(max = 128), regex(pattern = OID)))]
    pub extra_eku: Vec<String>,
    /// Treatment of a usage that the kind of key cannot have, such as key encipherment with ECDSA. Normalize omits the
    /// usage, Reject refuses the request. Default: Normalize.
    pub on_incompatible: OnIncompatible,
}

/// Treatment of a usage that the kind of key cannot have.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum OnIncompatible {
    /// The usage is omitted.
    #[default]
    Normalize,
    /// The request is refused.
    Reject,
}

/// Subject alternative names that are certified.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SansSpec {
    /// Largest number of names. Default: 100.
    #[schemars(range(min = 0, max = 1000))]
    pub max: u16,
    /// Whether DNS names may be wildcards, `*.example.com`. Default: true.
    pub allow_wildcards: bool,
    /// Characters of DNS names. Strict allows letters, digits and hyphens; Underscore allows underscores as well.
    /// Default: Strict.
    pub dns_syntax: DnsSyntax,
    /// Allowed names, by type. A type that is omitted is not limited, except otherNames. Types that are not listed here,
    /// such as directoryName and registeredID, are never certified.
    pub allowed: AllowedSpec,
    /// Names that are refused even if `allowed` allows them.
    pub denied: DeniedSpec,
    /// Strict makes every certificate an X.509-SVID, with exactly one URI, the SPIFFE ID of a workload, and the usage
    /// digital signature. Default: Off.
    pub spiffe: Spiffe,
}

/// Characters that DNS names may have.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum DnsSyntax {
    /// Letters, digits and hyphens.
    #[default]
    Strict,
    /// Letters, digits, hyphens and underscores.
    Underscore,
}

/// Whether certificates are X.509-SVIDs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Spiffe {
    /// Certificates need not be X.509-SVIDs.
    #[default]
    Off,
    /// Every certificate is an X.509-SVID.
    Strict,
}

/// Allowed names, by type.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedSpec {
    /// DNS names: an exact name, `*.name` for every name below it, or `*`. A common name with a dot is checked as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 300)))]
    pub dns: Option<Vec<String>>,
    /// IP addresses and networks, such as `10.0.0.0/8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 50)))]
    pub ip: Option<Vec<String>>,
    /// URIs: an exact URI, or a prefix that ends in `/*` for every URI that begins with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 2048)))]
    pub uri: Option<Vec<String>>,
    /// E-mail addresses: an exact address, or `*@host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 320)))]
    pub email: Option<Vec<String>>,
    /// Types of otherName, by object identifier. Their values are copied without a check. Default: none.
    #[schemars(length(max = 30), inner(length(max = 128), regex(pattern = OID)))]
    pub other_names: Vec<String>,
}

/// Names that are refused even if they are allowed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeniedSpec {
    /// DNS names, in the notation of the allowed names. A wildcard that may stand for one of them is refused, too. Default:
    /// none.
    #[schemars(length(max = 200), inner(length(min = 1, max = 300)))]
    pub dns: Vec<String>,
    /// IP addresses and networks. Default: none.
    #[schemars(length(max = 200), inner(length(min = 1, max = 50)))]
    pub ip: Vec<String>,
}

impl Default for ValiditySpec {
    fn default() -> Self {
        Self {
            default: "2160h".to_owned(),
            min: "5m".to_owned(),
            max: "8760h".to_owned(),
            backdate: "1m".to_owned(),
            beyond_ca: BeyondCa::Reject,
            min_remaining: "1h".to_owned(),
        }
    }
}

impl Default for KeysSpec {
    fn default() -> Self {
        Self {
            rsa: RsaSpec::default(),
            ecdsa: vec![Curve::P256, Curve::P384, Curve::P521],
            ed25519: true,
            mldsa: Vec::new(),
            blocked_spki_sha256: Vec::new(),
        }
    }
}

impl Default for RsaSpec {
    fn default() -> Self {
        Self {
            min_bits: 2048,
            max_bits: 8192,
        }
    }
}

impl Default for UsagesSpec {
    fn default() -> Self {
        let words = [
            "digital signature",
            "key encipherment",
            "server auth",
            "client auth",
        ];
        Self {
            allowed: words.map(str::to_owned).to_vec(),
            extra_eku: Vec::new(),
            on_incompatible: OnIncompatible::Normalize,
        }
    }
}

impl Default for SansSpec {
    fn default() -> Self {
        Self {
            max: 100,
            allow_wildcards: true,
            dns_syntax: DnsSyntax::Strict,
            allowed: AllowedSpec::default(),
            denied: DeniedSpec::default(),
            spiffe: Spiffe::Off,
        }
    }
}
