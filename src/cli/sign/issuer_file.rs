//! The issuer as a file: the object that one would apply, with its certificates inside.

use std::{fs, path::Path};

use anyhow::{Context as _, anyhow, bail, ensure};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{
        GROUP, IssuerName,
        issuer::{CertificateSource, IssuerKind, IssuerSpec, PKCS11ClusterIssuer, PKCS11Issuer},
    },
    pipeline::ChainPem,
};

/// An issuer as read.
#[derive(Debug)]
pub(super) struct IssuerFile {
    pub(super) name: IssuerName,
    pub(super) spec: IssuerSpec,
}

impl IssuerFile {
    /// Reads the file; `namespace` is that of the request, where it is given.
    ///
    /// # Errors
    /// It cannot be read, is no issuer of ours, has fields that no issuer has, or serves another namespace.
    pub(super) fn read(path: &Path, namespace: Option<&str>) -> anyhow::Result<Self> {
        fs::read_to_string(path)
            .map_err(|error| anyhow!(error).context("failed to read it"))
            .and_then(|text| parse(&text, namespace))
            .with_context(|| format!("the issuer {} cannot be used", path.display()))
    }

    /// The certificates.
    ///
    /// # Errors
    /// They are elsewhere.
    pub(super) fn chain(&self) -> anyhow::Result<ChainPem> {
        let CertificateSource {
            secret_ref,
            config_map_ref,
            pem,
            root_pem,
        } = &self.spec.certificate;
        let elsewhere = |kind: &str, name: &str| {
            anyhow!(
                "{} takes its certificate from {kind} {name}, which only the controller reads; write the PEM into spec.certificate.pem, and the root into spec.certificate.rootPem",
                self.name
            )
        };
        match (secret_ref, config_map_ref, pem) {
            (None, None, Some(pem)) => Ok(ChainPem {
                chain: pem.clone().into_bytes(),
                root: root_pem.clone().map(String::into_bytes),
            }),
            (Some(at), None, None) => Err(elsewhere("Secret", &at.name)),
            (None, Some(at), None) => Err(elsewhere("ConfigMap", &at.name)),
            (None, None, None) => bail!(
                "{} has no certificate; write the PEM into spec.certificate.pem",
                self.name
            ),
            (Some(_) | None, Some(_) | None, Some(_) | None) => bail!(
                "{} has several certificates; leave spec.certificate.pem alone there",
                self.name
            ),
        }
    }

    /// Whether the variables that the profile uses are known. An empty one would open or close the wrong doors.
    ///
    /// # Errors
    /// One is not.
    pub(super) fn check_variables(
        &self,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> anyhow::Result<()> {
        let profile =
            serde_json::to_string(&self.spec.profile).context("failed to read the profile")?;
        let namespace = self.name.namespace.as_deref().or(namespace);
        // The API server lets no others come into being, so profiles may rely on it.
        let odd = [
            ("namespace", namespace.filter(|text| !is_label(text))),
            ("name", name.filter(|text| !is_subdomain(text))),
        ];
        for (what, value) in odd {
            if let Some(value) = value {
                bail!(
                    "{value:?} cannot be the {what} of a request; use a-z, 0-9 and -, the first and last a letter or digit"
                );
            }
        }
        for (variable, flag, value) in [
            ("{{namespace}}", "--namespace", namespace),
            ("{{name}}", "--name", name),
        ] {
            ensure!(
                value.is_some() || !profile.contains(variable),
                "the profile of {} uses {variable}; give {flag}",
                self.name
            );
        }
        Ok(())
    }
}

fn parse(text: &str, namespace: Option<&str>) -> anyhow::Result<IssuerFile> {
    let written: Value = yaml(text)?;
    let field = |name: &str| {
        written
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let version = format!("{GROUP}/v1alpha1");
    match (field("apiVersion"), field("kind")) {
        (group, PKCS11Issuer::KIND) if group == version => {
            let issuer: PKCS11Issuer = yaml(text)?;
            let own = issuer.namespace();
            let namespace = match (own.as_deref(), namespace) {
                (Some(own), Some(other)) if own != other => bail!(
                    "a PKCS11Issuer in {own} signs for its own namespace only; leave --namespace {other} out, or use a PKCS11ClusterIssuer"
                ),
                (Some(one), _) | (None, Some(one)) => one.to_owned(),
                (None, None) => {
                    bail!(
                        "a PKCS11Issuer has a namespace; write metadata.namespace or give --namespace"
                    )
                }
            };
            whole(&written, &issuer, Some(namespace))
        }
        (group, PKCS11ClusterIssuer::KIND) if group == version => {
            whole(&written, &yaml::<PKCS11ClusterIssuer>(text)?, None)
        }
        (group, kind) => bail!(
            "it has apiVersion {group:?} and kind {kind:?}; give a PKCS11Issuer or PKCS11ClusterIssuer of {version}"
        ),
    }
}

fn whole<K: IssuerKind>(
    written: &Value,
    issuer: &K,
    namespace: Option<String>,
) -> anyhow::Result<IssuerFile> {
    let spec = issuer.issuer_spec();
    let read = serde_json::to_value(spec).context("failed to read spec")?;
    if let Some(field) = written
        .get("spec")
        .and_then(|spec| lost(spec, &read, "spec"))
    {
        // The API server would warn and drop it; here nobody would see it.
        bail!("{field} is unknown; correct it or remove it");
    }
    let name = issuer.meta().name.clone().filter(|name| !name.is_empty());
    Ok(IssuerFile {
        name: IssuerName {
            namespace,
            name: name.context("it has no metadata.name; give it one")?,
        },
        spec: spec.clone(),
    })
}

/// The path of the first field that was written and not read.
fn lost(written: &Value, read: &Value, path: &str) -> Option<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match read.get(key) {
                Some(read) => lost(value, read, &path),
                // What says nothing is not lost.
                None if value.is_null() => None,
                None => Some(path),
            }
        }),
        (Value::Array(written), Value::Array(read)) => written
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(index, (written, read))| lost(written, read, &format!("{path}[{index}]"))),
        (_, _) => None,
    }
}

/// A label of RFC 1123, as namespaces are.
fn is_label(text: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|octet| fits(octet) || octet == b'-')
        && [text.bytes().next(), text.bytes().last()]
            .into_iter()
            .all(|end| end.is_some_and(fits))
}

/// Labels with dots between them, as names of requests are.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn yaml<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    serde_saphyr::from_str(text).map_err(|error| {
        let said = error.without_snippet().to_string();
        anyhow!("{}", said.lines().next().unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests;
