//! An issuer in a file: the Kubernetes object, with its certificates inline.

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

/// Name and spec of an issuer that was read from a file.
#[derive(Debug)]
pub(super) struct IssuerFile {
    pub(super) name: IssuerName,
    pub(super) spec: IssuerSpec,
}

impl IssuerFile {
    /// Reads an issuer. `namespace` is the namespace of the request, if one is given.
    ///
    /// # Errors
    /// The file cannot be read, is not an issuer of this controller, has unknown fields, or serves another namespace.
    pub(super) fn read(path: &Path, namespace: Option<&str>) -> anyhow::Result<Self> {
        fs::read_to_string(path)
            .map_err(|error| anyhow!(error).context("failed to read the file"))
            .and_then(|text| parse(&text, namespace))
            .with_context(|| format!("the issuer {} cannot be used", path.display()))
    }

    /// Returns the issuer's certificates.
    ///
    /// # Errors
    /// The file does not hold the certificates, or names several sources for them.
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
                "{} has several certificates; keep only spec.certificate.pem",
                self.name
            ),
        }
    }

    /// Checks that one key signs, whatever the cluster knows. During a rollover the issuer's status says which key that is, and
    /// no status is read here.
    ///
    /// # Errors
    /// The issuer has a `spec.next`.
    pub(super) fn check_next(&self) -> anyhow::Result<()> {
        ensure!(
            self.spec.next.is_none(),
            "{} has spec.next, and only a cluster knows which of its keys signs; remove spec.next, or move it into spec.key and spec.certificate",
            self.name
        );
        Ok(())
    }

    /// Checks that every variable of the profile has a valid value. With an empty value the profile would allow or refuse
    /// the wrong names.
    ///
    /// # Errors
    /// A value is missing, or Kubernetes would not allow it.
    pub(super) fn check_variables(
        &self,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> anyhow::Result<()> {
        let profile =
            serde_json::to_string(&self.spec.profile).context("failed to read the profile")?;
        let namespace = self.name.namespace.as_deref().or(namespace);
        // The API server accepts no other names, so profiles may rely on these rules.
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
                    "a PKCS11Issuer in {own} signs for its own namespace only; omit --namespace {other}, or use a PKCS11ClusterIssuer"
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
        // The API server would warn about the field and drop it. Without the API server nobody would notice.
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

/// Returns the path of the first field that is in the file and not in the parsed object.
fn lost(written: &Value, read: &Value, path: &str) -> Option<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match read.get(key) {
                Some(read) => lost(value, read, &path),
                // A `null` carries no information.
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

/// Returns whether `text` is a label of RFC 1123, as names of namespaces are.
fn is_label(text: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|octet| fits(octet) || octet == b'-')
        && [text.bytes().next(), text.bytes().last()]
            .into_iter()
            .all(|end| end.is_some_and(fits))
}

/// Returns whether `text` is a subdomain of RFC 1123, as names of requests are.
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
