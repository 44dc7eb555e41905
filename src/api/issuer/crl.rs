//! `spec.crl`.

use jiff::SignedDuration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    duration::GoDuration,
    issuance::{
        crl::{CrlRules, CrlRulesError, Shards},
        profile::HttpUrl,
    },
};

/// CRLs of the issuer's CA. A CRL belongs to the CA, which is the name and the key of the issuing certificate. Issuers that use
/// the same CA must say the same here.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "duration(self.validity) >= duration('1h') && duration(self.validity) <= duration('2160h')"
    ).message("validity must be 1h to 2160h"),
    validation = Rule::new(
        "!has(self.refresh) || (duration(self.refresh) >= duration('1m') && duration(self.refresh) < duration(self.validity))"
    ).message("refresh must be at least 1m and less than validity"),
    validation = Rule::new("self.shards == 1 || has(self.url)")
        .message("several shards need a url: a certificate must name the CRL of its shard"),
    validation = Rule::new("self.shards == oldSelf.shards")
        .message("shards never changes: certificates name the CRL of their shard")
)]
pub struct CrlSpec {
    /// How long a CRL is valid, with the units h, m and s; 1h to 2160h. Default: 168h, a week.
    #[serde(default = "default_validity")]
    #[schemars(
        regex(pattern = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"),
        length(min = 2, max = 20)
    )]
    pub validity: String,
    /// Time after which a new CRL replaces the last one although no certificate was revoked, with the units h, m and s. A
    /// revocation is on a CRL within seconds, whatever this says. Default: a seventh of the validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"),
        length(min = 2, max = 20)
    )]
    pub refresh: Option<String>,
    /// Beginning of the URLs of the CRLs, such as `http://pki.example/crl`, with the scheme `http`. Certificates that are issued
    /// from now on carry `<url>/<CA>/<shard>.crl`, in a distribution point before those of
    /// `profile.extensions.crlDistributionPoints`. Default: none; certificates carry no such URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 900))]
    pub url: Option<String>,
    /// Number of CRLs among which the revoked certificates are divided, for CAs with very many of them. It never changes.
    /// Default: 1.
    #[serde(default = "default_shards")]
    #[schemars(range(min = 1, max = 256))]
    pub shards: u16,
    /// CRLs that others make, of the CAs above the issuing certificate. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub parents: Vec<CrlRef>,
    /// CRLs that others make, of CAs below the issuing certificate. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub children: Vec<CrlRef>,
    /// Treatment of the last certificate of a Certificate that is deleted. Default: Keep.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// A key of a Secret or ConfigMap with CRLs, in DER or PEM. The object is in the issuer's own namespace, for a cluster issuer in
/// the cluster resource namespace.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrlRef {
    /// Kind of the object.
    pub kind: CrlRefKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Kind of an object with CRLs.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash, JsonSchema)]
pub enum CrlRefKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

/// Treatment of the last certificate of a Certificate that is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum OnDelete {
    /// The certificate stays valid until it ends.
    #[default]
    Keep,
    /// The certificate is revoked. Certificates that it has replaced are not.
    Revoke,
}

fn default_validity() -> String {
    "168h".to_owned()
}

const fn default_shards() -> u16 {
    1
}

/// Checks everything but the references to others' CRLs and `onDelete`.
impl TryFrom<&CrlSpec> for CrlRules {
    type Error = CrlRulesError;

    fn try_from(spec: &CrlSpec) -> Result<Self, CrlRulesError> {
        let CrlSpec {
            validity,
            refresh,
            url: base,
            shards,
            parents: _,
            children: _,
            on_delete: _,
        } = spec;
        let url = |text: &String| {
            let parsed = text.parse::<HttpUrl>();
            parsed.map_err(|_| CrlRulesError::Url(text.clone()))
        };
        Self::new(
            duration("validity", validity)?,
            refresh
                .as_ref()
                .map(|refresh| duration("refresh", refresh))
                .transpose()?,
            base.as_ref().map(url).transpose()?,
            Shards::try_from(*shards).map_err(CrlRulesError::Shards)?,
        )
    }
}

fn duration(field: &'static str, text: &str) -> Result<SignedDuration, CrlRulesError> {
    let parsed = text.parse::<GoDuration>();
    parsed
        .map(GoDuration::signed)
        .map_err(|_| CrlRulesError::Duration {
            field,
            text: text.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> CrlSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_defaults_are_a_week_and_one_shard_without_a_url() {
        let given = spec(json!({}));
        let expected = CrlSpec {
            validity: "168h".to_owned(),
            refresh: None,
            url: None,
            shards: 1,
            parents: Vec::new(),
            children: Vec::new(),
            on_delete: OnDelete::Keep,
        };
        assert_eq!(given, expected);
        let rules = CrlRules::try_from(&given).unwrap();
        let week = SignedDuration::from_hours(168);
        assert_eq!(Ok(rules), CrlRules::new(week, None, None, Shards::ONE));
    }

    #[test]
    fn every_field_of_the_rules_comes_from_the_spec() {
        let given = spec(json!({
            "validity": "24h", "refresh": "1h30m", "url": "http://pki.example/crl", "shards": 16,
            "parents": [{"kind": "Secret", "name": "root", "key": "ca.crl"}],
            "children": [{"kind": "ConfigMap", "name": "istio", "key": "ca.crl"}],
            "onDelete": "Revoke",
        }));
        assert_eq!(given.on_delete, OnDelete::Revoke);
        assert_eq!(given.parents.len() + given.children.len(), 2);
        let expected = CrlRules::new(
            SignedDuration::from_hours(24),
            Some(SignedDuration::from_mins(90)),
            Some("http://pki.example/crl".parse().unwrap()),
            16.try_into().unwrap(),
        );
        assert_eq!(CrlRules::try_from(&given), expected);
    }

    #[test]
    fn the_error_names_the_field() {
        for (value, expected) in [
            (
                json!({"validity": "week"}),
                "spec.crl.validity \"week\" is not a duration",
            ),
            (
                json!({"refresh": "1x"}),
                "spec.crl.refresh \"1x\" is not a duration",
            ),
            (json!({"validity": "5m"}), "spec.crl.validity is 5m"),
            (json!({"refresh": "168h"}), "spec.crl.refresh is 168h"),
            (
                json!({"url": "https://a.example"}),
                "spec.crl.url \"https://a.example\" is not an http:// URL",
            ),
            (json!({"shards": 0}), "spec.crl.shards"),
            (
                json!({"shards": 2}),
                "spec.crl.shards is above 1 and spec.crl.url is not set",
            ),
        ] {
            let error = CrlRules::try_from(&spec(value)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
