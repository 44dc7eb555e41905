//! `spec.profile`: what an issuer issues, as it is written.
//!
//! Everything has a default, and the defaults are safe. What is written is checked by the `TryFrom` of
//! `check`, nowhere else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod authority;
mod check;
mod extensions;
mod subject;

pub use authority::{CaSpec, ConstraintMode, ConstraintsSpec, EmptySubject, SubtreesSpec};
pub use extensions::{AiaSpec, ExtensionsSpec, PolicySpec, Ski};
pub use subject::{SubjectMode, SubjectSpec};

/// Go's notation of durations, which are never negative here.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$";
/// A dotted object identifier.
const OID: &str = r"^[0-2](\.(0|[1-9][0-9]*))+$";

/// What the issuer issues. A grant of the operator may narrow it further. In the patterns of names,
/// `{{namespace}}` and `{{name}}` stand for the namespace and the name of the request.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProfileSpec {
    /// How long certificates are valid.
    pub validity: ValiditySpec,
    /// Which subject keys are certified. Broken, weak and factorable keys never are.
    pub keys: KeysSpec,
    /// What the keys may be used for.
    pub usages: UsagesSpec,
    /// What becomes of the CSR's subject.
    pub subject: SubjectSpec,
    /// Which subject alternative names are certified.
    pub sans: SansSpec,
    /// CA certificates.
    pub ca: CaSpec,
    /// What certificates say beside their names and usages.
    pub extensions: ExtensionsSpec,
    /// Where serial numbers come from.
    pub serial: SerialSpec,
}

/// Where serial numbers come from. They have 16 octets, 126 bits of them random.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SerialSpec {
    /// OS takes the random number generator of the operating system; HSM takes the token's, for one more call per
    /// certificate. Default: OS.
    pub source: SerialSource,
}

/// A random number generator.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SerialSource {
    /// The operating system's.
    #[default]
    Os,
    /// The token's: `C_GenerateRandom`.
    Hsm,
}

/// How long certificates are valid. Durations are numbers with the units h, m and s: `2160h`, `1h30m`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ValiditySpec {
    /// The duration of a request that asks for none; never above the grant's. Default: 2160h, 90 days.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub default: String,
    /// The shortest duration that may be asked for. Default: 5m.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub min: String,
    /// The longest duration that may be asked for; never above the grant's. Default: 8760h, a year.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub max: String,
    /// By how much the window of validity is moved into the past, for clocks that are behind. The duration stays as
    /// asked; a tenth of it is the most. Default: 1m.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub backdate: String,
    /// What becomes of a request that goes beyond the end of a certificate of the issuer's chain, the root included:
    /// Reject refuses it, Clamp ends the certificate with the first of the chain to end. Default: Reject.
    #[serde(rename = "beyondCA")]
    pub beyond_ca: BeyondCa,
    /// With Clamp, the shortest validity that is given; below it requests are refused. Without such a floor,
    /// certificates would be renewed ever faster towards the end. Default: 1h.
    #[schemars(length(max = 50), regex(pattern = DURATION))]
    pub min_remaining: String,
}

/// What becomes of a request that goes beyond the end of a certificate of the issuer's chain.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum BeyondCa {
    /// It is refused.
    #[default]
    Reject,
    /// It ends with the first certificate of the chain to end.
    Clamp,
}

/// Which subject keys are certified.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeysSpec {
    /// RSA keys, whose exponent must be 65537.
    pub rsa: RsaSpec,
    /// The elliptic curves of ECDSA keys. Default: all three.
    #[schemars(length(max = 10))]
    pub ecdsa: Vec<Curve>,
    /// Whether Ed25519 keys are certified. Default: true.
    pub ed25519: bool,
    /// The parameter sets of ML-DSA keys; cert-manager itself can neither make nor read such a request yet. Default: none.
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

/// Which RSA keys are certified.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RsaSpec {
    /// Bits of the shortest modulus. Default: 2048.
    #[schemars(range(min = 2048, max = 8192))]
    pub min_bits: u16,
    /// Bits of the longest modulus. Default: 8192.
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

/// What keys may be used for.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UsagesSpec {
    /// The usages that may be asked for, in cert-manager's words. Default: digital signature, key encipherment, server
    /// auth, client auth.
    #[schemars(length(max = 30), inner(length(max = 50)))]
    pub allowed: Vec<String>,
    /// Extended key usages for which cert-manager has no word; a CSR may ask for them. Default: none.
    #[serde(rename = "extraEKU")]
    #[schemars(length(max = 30), inner(length(max = 128), regex(pattern = OID)))]
    pub extra_eku: Vec<String>,
    /// What becomes of a usage that the kind of key cannot have, such as key encipherment with ECDSA: Normalize leaves
    /// it out, Reject refuses the request. Default: Normalize.
    pub on_incompatible: OnIncompatible,
}

/// What becomes of a usage that the kind of key cannot have.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum OnIncompatible {
    /// It is left out.
    #[default]
    Normalize,
    /// The request is refused.
    Reject,
}

/// Which subject alternative names are certified.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SansSpec {
    /// How many, at most. Default: 100.
    #[schemars(range(min = 0, max = 1000))]
    pub max: u16,
    /// Whether DNS names may be wildcards, `*.example.com`. Default: true.
    pub allow_wildcards: bool,
    /// Which characters DNS names may have: Strict allows letters, digits and hyphens, Underscore underscores too.
    /// Default: Strict.
    pub dns_syntax: DnsSyntax,
    /// The names allowed, by type. A type that is left out is not limited, but for otherNames. Types that are not here,
    /// directoryName and registeredID among them, are never given.
    pub allowed: AllowedSpec,
    /// Names that are refused even where they are allowed.
    pub denied: DeniedSpec,
    /// Strict makes every certificate an X.509-SVID: exactly one URI, which is the SPIFFE ID of a workload, and the usage
    /// digital signature. Default: Off.
    pub spiffe: Spiffe,
}

/// Which characters DNS names may have.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum DnsSyntax {
    /// Letters, digits and hyphens.
    #[default]
    Strict,
    /// Underscores too.
    Underscore,
}

/// Whether certificates are X.509-SVIDs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Spiffe {
    /// Not necessarily.
    #[default]
    Off,
    /// Always.
    Strict,
}

/// The names allowed, by type.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedSpec {
    /// DNS names: a name itself, `*.name` for every name below it, or `*`. A common name with a dot is judged as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 300)))]
    pub dns: Option<Vec<String>>,
    /// IP addresses and networks, such as `10.0.0.0/8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 50)))]
    pub ip: Option<Vec<String>>,
    /// URIs: one itself, or with `/*` at the end every URI that begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 2048)))]
    pub uri: Option<Vec<String>>,
    /// E-mail addresses: one itself, or `*@host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 320)))]
    pub email: Option<Vec<String>>,
    /// Types of otherName, by object identifier. Their values are copied and not looked at. Default: none.
    #[schemars(length(max = 30), inner(length(max = 128), regex(pattern = OID)))]
    pub other_names: Vec<String>,
}

/// Names that are refused even where they are allowed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeniedSpec {
    /// DNS names, written as those allowed. A wildcard that may stand for one of them is refused too. Default: none.
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
