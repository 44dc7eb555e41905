//! `spec.profile.extensions`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    OID,
    check::{each, parse},
};
use crate::issuance::profile::{ExtensionRules, HttpUrl, Policy, ProfileError};

/// Further extensions of certificates. URLs must have the scheme `http`: a client that verifies a certificate cannot use a
/// connection that itself needs a verified certificate.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionsSpec {
    /// Whether leaf certificates carry a subject key identifier; CA certificates always do. Default: Include.
    pub ski: Ski,
    /// Object identifiers of extensions that are copied from the CSR, with value and criticality, without a check.
    /// Extensions of RFC 5280 itself cannot be copied. Default: none.
    #[serde(rename = "fromCSR")]
    #[schemars(length(max = 30), inner(length(max = 128), regex(pattern = OID)))]
    pub from_csr: Vec<String>,
    /// Policies of the certificates. Default: none.
    #[schemars(length(max = 30))]
    pub policies: Vec<PolicySpec>,
    /// Authority information access: sources of information about the issuer.
    pub aia: AiaSpec,
    /// URLs of the CRL. Default: none.
    #[schemars(length(max = 10), inner(length(min = 8, max = 1000)))]
    pub crl_distribution_points: Vec<String>,
    /// Whether leaf certificates state that they are never revoked (RFC 9608); for short validities. It cannot be combined
    /// with crlDistributionPoints or aia.ocsp. Default: false.
    pub no_rev_avail: bool,
}

/// Whether leaf certificates carry a subject key identifier.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Ski {
    /// With an identifier: the leftmost 160 bits of the SHA-256 hash of the key (RFC 7093).
    #[default]
    Include,
    /// Without an identifier.
    Omit,
}

/// A certificate policy.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub struct PolicySpec {
    /// Object identifier of the policy.
    #[schemars(length(max = 128), regex(pattern = OID))]
    pub oid: String,
    /// URL of the certification practice statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 1000))]
    pub cps: Option<String>,
}

/// Authority information access: sources of information about the issuer.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiaSpec {
    /// URLs of the issuing certificate, DER. Default: none.
    #[schemars(length(max = 10), inner(length(min = 8, max = 1000)))]
    pub ca_issuers: Vec<String>,
    /// URLs of OCSP responders. Default: none.
    #[schemars(length(max = 10), inner(length(min = 8, max = 1000)))]
    pub ocsp: Vec<String>,
}

impl TryFrom<ExtensionsSpec> for ExtensionRules {
    type Error = ProfileError;

    fn try_from(spec: ExtensionsSpec) -> Result<Self, ProfileError> {
        let ExtensionsSpec {
            ski,
            from_csr,
            policies,
            aia: AiaSpec { ca_issuers, ocsp },
            crl_distribution_points,
            no_rev_avail,
        } = spec;
        let policy = |(index, spec): (usize, PolicySpec)| {
            let PolicySpec { oid, cps } = spec;
            let field = format!("extensions.policies[{index}]");
            Ok(Policy {
                oid: parse(&format!("{field}.oid"), &oid)?,
                cps: cps
                    .map(|url| parse(&format!("{field}.cps"), &url))
                    .transpose()?,
            })
        };
        let urls = |field: &str, urls: &[String]| each::<HttpUrl>(field, urls, parse);
        Ok(Self {
            subject_key_id: match ski {
                Ski::Include => true,
                Ski::Omit => false,
            },
            from_csr: each("extensions.fromCSR", &from_csr, parse)?,
            policies: policies
                .into_iter()
                .enumerate()
                .map(policy)
                .collect::<Result<_, ProfileError>>()?,
            ca_issuers: urls("extensions.aia.caIssuers", &ca_issuers)?,
            ocsp: urls("extensions.aia.ocsp", &ocsp)?,
            crl: urls("extensions.crlDistributionPoints", &crl_distribution_points)?,
            no_rev_avail,
        })
    }
}
