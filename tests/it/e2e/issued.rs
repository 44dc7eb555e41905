//! An issued Certificate with its Secret and the X.509 certificate in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::DynamicObject;
use serde_json::Value;
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    pem::{Pem, parse_x509_pem},
    prelude::X509Certificate,
};

use super::{
    NAMESPACE,
    objects::{CERTIFICATE, Objects},
};

/// An issued Certificate and its Secret.
pub(super) struct Issued {
    pub(super) certificate: DynamicObject,
    pub(super) secret: Secret,
    leaf: Pem,
    ca: Pem,
}

/// Subject alternative names by type, as text; `otherName` as type and value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) dns: BTreeSet<String>,
    pub(super) ip: BTreeSet<String>,
    pub(super) uri: BTreeSet<String>,
    pub(super) email: BTreeSet<String>,
    pub(super) other: BTreeSet<(String, Vec<u8>)>,
    /// Number of names of other types.
    pub(super) further: usize,
}

impl Issued {
    /// Waits until a Certificate of [`NAMESPACE`] is issued.
    pub(super) async fn wait(objects: &Objects, name: &str) -> Result<Self> {
        Self::wait_in(objects, NAMESPACE, name).await
    }

    /// Waits until a Certificate is issued.
    pub(super) async fn wait_in(objects: &Objects, namespace: &str, name: &str) -> Result<Self> {
        loop {
            let certificate = objects.certificate_is_ready(namespace, name).await?;
            let secret = certificate.data["spec"]["secretName"].as_str();
            let secret = secret.context("the Certificate names no Secret")?;
            let secret = objects.secret(namespace, secret).await?;
            // cert-manager may have issued again in the meantime, because its caches can lag behind.
            let after = objects.of(CERTIFICATE, namespace).get(name).await?;
            if after.metadata.resource_version == certificate.metadata.resource_version {
                return Self::new(certificate, secret)
                    .with_context(|| format!("read the certificate of {name}"));
            }
        }
    }

    pub(super) fn new(certificate: DynamicObject, secret: Secret) -> Result<Self> {
        Ok(Self {
            leaf: first_pem(&data(&secret, "tls.crt")?)?,
            ca: first_pem(&data(&secret, "ca.crt")?)?,
            certificate,
            secret,
        })
    }

    /// Returns a field of the Certificate's `spec`, or `null` if it is not set.
    pub(super) fn spec(&self, field: &str) -> &Value {
        &self.certificate.data["spec"][field]
    }

    /// Returns a list of strings in the Certificate's `spec`.
    pub(super) fn texts(&self, field: &str) -> BTreeSet<String> {
        texts(self.spec(field))
    }

    /// Returns the first certificate of `tls.crt`.
    pub(super) fn leaf(&self) -> Result<X509Certificate<'_>> {
        Ok(self.leaf.parse_x509()?)
    }

    /// Returns the certificate in `ca.crt`.
    pub(super) fn ca(&self) -> Result<X509Certificate<'_>> {
        Ok(self.ca.parse_x509()?)
    }

    /// Returns the DER of the first certificate of `tls.crt`.
    pub(super) fn leaf_der(&self) -> &[u8] {
        &self.leaf.contents
    }

    /// Returns the value of a key in the Secret.
    pub(super) fn data(&self, key: &str) -> Result<Vec<u8>> {
        data(&self.secret, key)
    }

    /// Returns the DER of the SubjectPublicKeyInfo that belongs to the private key in the Secret.
    pub(super) fn public_half(&self) -> Result<Vec<u8>> {
        openssl(
            &["pkey", "-pubout", "-outform", "DER"],
            &self.data("tls.key")?,
        )
    }

    /// Verifies `tls.crt` up to these trust anchors with openssl.
    pub(super) fn verify(&self, roots: &[u8]) -> Result<()> {
        verify(&self.data("tls.crt")?, roots)
    }
}

/// Verifies the first certificate of a chain up to these trust anchors with openssl.
pub(super) fn verify(chain: &[u8], roots: &[u8]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [chain_file, roots_file] = ["chain.pem", "roots.pem"].map(|name| folder.path().join(name));
    std::fs::write(&chain_file, chain)?;
    std::fs::write(&roots_file, roots)?;
    let (chain_file, roots_file) = (chain_file.to_string_lossy(), roots_file.to_string_lossy());
    let options = [
        "verify",
        "-x509_strict",
        "-no-CAfile",
        "-no-CApath",
        "-no-CAstore",
    ];
    let files = [
        "-trusted",
        &*roots_file,
        "-untrusted",
        &*chain_file,
        &*chain_file,
    ];
    openssl(&[&options[..], &files].concat(), &[])?;
    Ok(())
}

/// Returns the names of a certificate.
pub(super) fn names(certificate: &X509Certificate<'_>) -> Result<Names> {
    let extensions = certificate.extensions().iter();
    names_in(extensions.map(|extension| extension.parsed_extension()))
}

/// Returns the names in the extensions of a certificate or a CSR.
pub(super) fn names_in<'a>(
    extensions: impl Iterator<Item = &'a ParsedExtension<'a>>,
) -> Result<Names> {
    let mut names = Names::default();
    for extension in extensions {
        let ParsedExtension::SubjectAlternativeName(found) = extension else {
            continue;
        };
        for name in &found.general_names {
            match name {
                GeneralName::DNSName(name) => names.dns.extend([(*name).to_owned()]),
                GeneralName::URI(name) => names.uri.extend([(*name).to_owned()]),
                GeneralName::RFC822Name(name) => names.email.extend([(*name).to_owned()]),
                GeneralName::IPAddress(octets) => names.ip.extend([ip(octets)?.to_string()]),
                GeneralName::OtherName(kind, value) => {
                    names.other.extend([(kind.to_id_string(), value.to_vec())]);
                }
                GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::RegisteredID(_)
                | GeneralName::Invalid(..) => names.further += 1,
            }
        }
    }
    Ok(names)
}

/// Returns the OIDs of extKeyUsage and the bits of keyUsage, where bit 0 is the first.
pub(super) fn usages(
    certificate: &X509Certificate<'_>,
) -> Result<(BTreeSet<String>, BTreeSet<u16>)> {
    let mut purposes = BTreeSet::new();
    if let Some(extension) = certificate.extended_key_usage()? {
        let usage = extension.value;
        for (present, oid) in [
            (usage.any, "2.5.29.37.0"),
            (usage.server_auth, "1.3.6.1.5.5.7.3.1"),
            (usage.client_auth, "1.3.6.1.5.5.7.3.2"),
            (usage.code_signing, "1.3.6.1.5.5.7.3.3"),
            (usage.email_protection, "1.3.6.1.5.5.7.3.4"),
            (usage.time_stamping, "1.3.6.1.5.5.7.3.8"),
            (usage.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
        ] {
            if present {
                purposes.insert(oid.to_owned());
            }
        }
        purposes.extend(usage.other.iter().map(|oid| oid.to_id_string()));
    }
    let flags = certificate
        .key_usage()?
        .map_or(0, |usage| usage.value.flags);
    let bits = (0..9).filter(|bit| flags & (1 << bit) != 0);
    Ok((purposes, bits.collect()))
}

/// Returns a list of strings.
pub(super) fn texts(list: &Value) -> BTreeSet<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Returns the last certificate of a chain.
pub(super) fn last_pem(chain: &[u8]) -> Result<Pem> {
    let blocks: Result<Vec<_>, _> = Pem::iter_from_buffer(chain).collect();
    blocks?.pop().context("the chain has no certificate")
}

pub(super) fn first_pem(chain: &[u8]) -> Result<Pem> {
    Ok(parse_x509_pem(chain).context("no PEM")?.1)
}

fn data(secret: &Secret, key: &str) -> Result<Vec<u8>> {
    let empty = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let value = data.get(key);
    Ok(value
        .with_context(|| format!("the Secret has no {key}"))?
        .0
        .clone())
}

fn ip(octets: &[u8]) -> Result<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Ok(octets.into());
    }
    let octets =
        <[u8; 16]>::try_from(octets).context("an IP address has neither 4 nor 16 octets")?;
    Ok(octets.into())
}

/// Runs openssl with this standard input, which is the only place for secrets.
fn openssl(args: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run openssl")?;
    let mut stdin = child
        .stdin
        .take()
        .context("openssl has no standard input")?;
    // The input fits into the pipe, and openssl may end without reading it.
    drop(stdin.write_all(input));
    drop(stdin);
    let output = child.wait_with_output().context("wait for openssl")?;
    ensure!(
        output.status.success(),
        "openssl {}: {}",
        args.first().unwrap_or(&""),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
