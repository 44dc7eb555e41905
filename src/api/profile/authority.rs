//! `spec.profile.ca`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{each, parse};
use crate::issuance::profile::{self, CaRules, Constraint, Constraints, ProfileError};

/// CA certificates. They need a grant of the operator whose limits allow them.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CaSpec {
    /// Whether requests with isCA get a CA certificate. Default: false.
    pub allow: bool,
    /// How many CAs may be below such a CA; -1 for any number. Default: 0, so that it can issue leaf certificates only.
    #[schemars(range(min = -1, max = 127))]
    pub path_len: i16,
    /// Treatment of a request for a CA certificate without a subject. RFC 5280 requires a subject. Reject refuses the
    /// request, FirstDNSName makes its first DNS name the common name. Default: Reject.
    pub empty_subject: EmptySubject,
    /// Whether the annotation `experimental.cert-manager.io/request-is-ca` is enough for a Kubernetes CSR to ask for a CA
    /// certificate. The annotation can be changed after approval. With false, `spec.usages` must contain `cert sign` as
    /// well. Default: false.
    pub by_annotation: bool,
    /// Names that such a CA may certify, as a critical extension of its certificate. If the grant limits names, its limits
    /// are added. Default: only the constraints of the grant.
    pub name_constraints: ConstraintsSpec,
}

/// Source of the name constraints of CA certificates.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum ConstraintMode {
    /// The profile and the grant.
    #[default]
    Fixed,
    /// The profile and the grant, narrowed by the constraints of the CSR.
    FromRequest,
}

/// Treatment of a request for a CA certificate without a subject.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum EmptySubject {
    /// The request is refused.
    #[default]
    Reject,
    /// The first DNS name of the request becomes the common name.
    #[serde(rename = "FirstDNSName")]
    FirstDnsName,
}

/// Names that a CA may certify.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConstraintsSpec {
    /// Fixed refuses a CSR that asks for name constraints. FromRequest honours constraints that narrow those of the profile
    /// and the grant, and refuses constraints that would widen them. Default: Fixed.
    pub mode: ConstraintMode,
    /// Permitted names. They limit only the types of names that are listed.
    pub permitted: SubtreesSpec,
    /// Excluded names.
    pub excluded: SubtreesSpec,
}

/// Subtrees of names (RFC 5280, section 4.2.1.10).
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SubtreesSpec {
    /// DNS names. Each stands for itself and for every name below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub dns: Vec<String>,
    /// IP networks, such as `10.0.0.0/8`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 50)))]
    pub ip: Vec<String>,
    /// Hosts of URIs. A host with a leading dot stands for the hosts below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 254)))]
    pub uri: Vec<String>,
    /// E-mail addresses or their hosts. A host with a leading dot stands for the hosts below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 320)))]
    pub email: Vec<String>,
}

impl TryFrom<CaSpec> for CaRules {
    type Error = ProfileError;

    fn try_from(spec: CaSpec) -> Result<Self, ProfileError> {
        let CaSpec {
            allow,
            path_len,
            empty_subject,
            by_annotation,
            name_constraints:
                ConstraintsSpec {
                    mode,
                    permitted,
                    excluded,
                },
        } = spec;
        let path_length = match path_len {
            -1 => None,
            other => Some(u8::try_from(other).map_err(|_| {
                ProfileError::new("ca.pathLen", "must be between 0 and 127, or -1")
            })?),
        };
        Ok(Self {
            allow,
            path_length,
            empty_subject: match empty_subject {
                EmptySubject::Reject => profile::EmptySubject::Reject,
                EmptySubject::FirstDnsName => profile::EmptySubject::FirstDnsName,
            },
            by_annotation,
            constraints: Constraints {
                permitted: subtrees("ca.nameConstraints.permitted", permitted)?,
                excluded: subtrees("ca.nameConstraints.excluded", excluded)?,
            },
            constraint_mode: match mode {
                ConstraintMode::Fixed => profile::ConstraintMode::Fixed,
                ConstraintMode::FromRequest => profile::ConstraintMode::FromRequest,
            },
        })
    }
}

fn subtrees(field: &str, spec: SubtreesSpec) -> Result<Vec<Constraint>, ProfileError> {
    let SubtreesSpec {
        dns,
        ip,
        uri,
        email,
    } = spec;
    let at = |kind: &str| format!("{field}.{kind}");
    let mut constraints = each(&at("dns"), &dns, |field, text| {
        parse(field, text).map(Constraint::Dns)
    })?;
    constraints.extend(each(&at("ip"), &ip, |field, text| {
        parse(field, text).map(Constraint::Ip)
    })?);
    constraints.extend(each(&at("uri"), &uri, |field, text| {
        parse(field, text).map(Constraint::Uri)
    })?);
    constraints.extend(each(&at("email"), &email, |field, text| {
        parse(field, text).map(Constraint::Email)
    })?);
    Ok(constraints)
}
