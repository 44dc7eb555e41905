//! The identity of a pod: names that the issuer builds from the pod's namespace, service account and name.

use super::{
    pattern::{PatternError, Template, Variable},
    refusal::{Refusal, RefusalReason},
    san::{DnsSyntax, SanError, SubjectAltNames},
};

/// Templates of the names in pods' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    uris: Vec<Template<PodVariable>>,
    dns_names: Vec<Template<PodVariable>>,
}

/// A pod as the API server vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod<'a> {
    /// `{{namespace}}`.
    pub namespace: &'a str,
    /// `{{serviceAccount}}`.
    pub service_account: &'a str,
    /// `{{pod}}`.
    pub name: &'a str,
}

/// A variable in the templates of pods' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodVariable {
    /// The pod's namespace.
    Namespace,
    /// The service account that it runs as.
    ServiceAccount,
    /// The pod's name.
    Pod,
}

/// Reason why templates cannot name a pod.
#[derive(Debug, thiserror::Error)]
pub enum PodIdentityError {
    /// A text that is not a template.
    #[error(transparent)]
    Template(#[from] PatternError),
    /// Templates that give malformed names.
    #[error("the names that the templates give are not well formed")]
    Names(#[source] SanError),
}

impl Variable for PodVariable {
    const NAMED: &'static [(&'static str, Self)] = &[
        ("namespace", Self::Namespace),
        ("serviceAccount", Self::ServiceAccount),
        ("pod", Self::Pod),
    ];
}

impl PodIdentity {
    /// Parses templates of URIs and of DNS names.
    ///
    /// # Errors
    ///
    /// Fails if there is no template, if a template has an unknown variable, or if it gives a malformed name.
    pub fn parse(uris: &[String], dns_names: &[String]) -> Result<Self, PodIdentityError> {
        let parse = |texts: &[String]| -> Result<Vec<_>, _> {
            texts.iter().map(|text| Template::parse(text)).collect()
        };
        let identity = Self {
            uris: parse(uris)?,
            dns_names: parse(dns_names)?,
        };
        let sample = identity.expand(|template| template.sample());
        sample
            .and_then(|names| names.check(DnsSyntax::Strict))
            .map_err(PodIdentityError::Names)?;
        Ok(identity)
    }

    /// Returns the names of one pod.
    ///
    /// # Errors
    ///
    /// Fails if a name cannot be encoded. The profile checks the syntax, as for all names.
    pub fn names_of(&self, pod: Pod<'_>) -> Result<SubjectAltNames, Refusal> {
        let names = self.expand(|template| {
            template.replace(|variable| match variable {
                PodVariable::Namespace => pod.namespace,
                PodVariable::ServiceAccount => pod.service_account,
                PodVariable::Pod => pod.name,
            })
        });
        names.map_err(|error| {
            Refusal::new(
                RefusalReason::BadSan,
                format!("the pod's names are refused: {error}"),
            )
        })
    }

    fn expand(
        &self,
        text: impl Fn(&Template<PodVariable>) -> String,
    ) -> Result<SubjectAltNames, SanError> {
        let texts = |templates: &[Template<PodVariable>]| -> Vec<String> {
            templates.iter().map(&text).collect()
        };
        SubjectAltNames::of(&texts(&self.uris), &texts(&self.dns_names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::claim::Claim;

    fn identity(uris: &[&str], dns_names: &[&str]) -> Result<PodIdentity, PodIdentityError> {
        let owned = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };
        PodIdentity::parse(&owned(uris), &owned(dns_names))
    }

    #[test]
    fn a_pod_is_named_by_namespace_service_account_and_its_own_name() {
        let identity = identity(
            &["spiffe://example.org/ns/{{namespace}}/sa/{{serviceAccount}}"],
            &["{{pod}}.{{namespace}}.pod.example"],
        )
        .unwrap();
        let names = identity
            .names_of(Pod {
                namespace: "shop",
                service_account: "web",
                name: "web-0",
            })
            .unwrap();
        let names: Vec<_> = names
            .names()
            .iter()
            .map(|name| Claim::from(name).to_string())
            .collect();
        assert_eq!(
            names,
            [
                "URI \"spiffe://example.org/ns/shop/sa/web\"",
                "DNS name \"web-0.shop.pod.example\""
            ]
        );
    }

    #[test]
    fn templates_that_cannot_name_a_pod_are_refused() {
        for (uris, dns_names) in [
            (&[][..], &[][..]),
            (&["spiffe://example.org/{{name}}"], &[]),
            (&["{{pod}}"], &[]),
            (&[], &["{{pod}}..example"]),
            (&[], &["{{pod"]),
            (&["spiffe://ex\u{e4}mple.org/{{pod}}"], &[]),
        ] {
            assert!(identity(uris, dns_names).is_err(), "{uris:?} {dns_names:?}");
        }
    }
    #[test]
    fn an_unknown_variable_is_refused_with_the_ones_that_exist() {
        let error = identity(&["spiffe://example.org/{{name}}"], &[]).unwrap_err();
        let text = crate::issuance::csr::chain(&error);
        assert!(
            text.ends_with("the variables here are {{namespace}}, {{serviceAccount}}, {{pod}}"),
            "{text}"
        );
    }
}
