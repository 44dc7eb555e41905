//! What the lines about a certificate say is what its request, its issuer and the certificate itself say.

use std::{collections::BTreeSet, process::Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
use rig::{Rig, request_spec};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, pem::parse_x509_pem};

use super::{issuer, shared_rig};

const NAMESPACE: &str = "told";

/// Returns the PEM of a CSR with a subject, names of every type, and an extension that no certificate has.
fn csr() -> Result<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (of, text) in [
        (DnType::OrganizationName, "Shop, Ltd."),
        (DnType::CommonName, "web.example"),
    ] {
        params.distinguished_name.push(of, text);
    }
    params.subject_alt_names = vec![
        SanType::DnsName("web.example".try_into()?),
        SanType::DnsName("*.shop.example".try_into()?),
        SanType::IpAddress("192.0.2.7".parse()?),
        SanType::URI("spiffe://example.org/web".try_into()?),
        SanType::Rfc822Name("ops@shop.example".try_into()?),
    ];
    let unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    params.custom_extensions = vec![unknown];
    Ok(params.serialize_request(&KeyPair::generate()?)?.pem()?)
}

fn sha256(octets: &[u8]) -> String {
    hex::encode(digest(&SHA256, octets))
}

/// Returns a subject as OpenSSL writes it by RFC 2253, of which RFC 4514 is the successor.
async fn subject(pem: &str) -> Result<String> {
    let mut openssl = Command::new("openssl")
        .args(["x509", "-noout", "-subject", "-nameopt", "rfc2253"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("run openssl")?;
    let mut input = openssl.stdin.take().context("no stdin")?;
    input.write_all(pem.as_bytes()).await?;
    drop(input);
    let told = openssl.wait_with_output().await?;
    ensure!(told.status.success(), "openssl: {}", told.status);
    let told = String::from_utf8(told.stdout)?;
    let subject = told.trim().strip_prefix("subject=").context("no subject")?;
    Ok(subject.to_owned())
}

/// Returns names as the log writes them.
fn names(certificate: &X509Certificate<'_>) -> Result<Vec<String>> {
    let names = certificate.subject_alternative_name()?;
    let names = &names.context("no names")?.value.general_names;
    names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => Ok(format!("DNS:{name}")),
            GeneralName::URI(name) => Ok(format!("URI:{name}")),
            GeneralName::RFC822Name(name) => Ok(format!("email:{name}")),
            GeneralName::IPAddress(octets) => {
                let octets: [u8; 4] = (*octets).try_into()?;
                Ok(format!("IP:{}", std::net::Ipv4Addr::from(octets)))
            }
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => bail!("a name that the CSR lacks: {name:?}"),
        })
        .collect()
}

/// Returns usages in cert-manager's words.
fn usages(certificate: &X509Certificate<'_>) -> Result<BTreeSet<&'static str>> {
    let key = certificate.key_usage()?.context("no key usage")?.value;
    let purposes = certificate.extended_key_usage()?.context("no purposes")?;
    let purposes = purposes.value;
    let all = [
        ("digital signature", key.digital_signature()),
        ("key encipherment", key.key_encipherment()),
        ("key agreement", key.key_agreement()),
        ("cert sign", key.key_cert_sign()),
        ("crl sign", key.crl_sign()),
        ("server auth", purposes.server_auth),
        ("client auth", purposes.client_auth),
        ("any", purposes.any),
        ("code signing", purposes.code_signing),
    ];
    Ok(all
        .into_iter()
        .filter(|(_, is)| *is)
        .map(|(word, _)| word)
        .collect())
}

/// Returns the object as the API server has it.
async fn stored(rig: &Rig, words: &[&str]) -> Result<Value> {
    let get = [&["get", "--output", "json"], words].concat();
    Ok(serde_json::from_str(
        &rig.cluster().plane().kubectl(&get).await?,
    )?)
}

#[tokio::test]
async fn the_lines_about_a_certificate_say_what_request_issuer_and_certificate_say() -> Result<()> {
    let rig = shared_rig().await?;
    rig.cluster().create_namespace(NAMESPACE).await?;
    let requests = rig.cluster().requests(NAMESPACE).await?;
    let csr = csr()?;
    let mut spec = request_spec(&issuer(), &csr);
    spec["duration"] = json!("1h30m");
    spec["usages"] = json!(["client auth", "digital signature", "server auth"]);
    requests.create("web", spec).await?;
    // As cert-manager marks the request of a Certificate.
    let owner = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "name": "web-tls", "uid": "u", "controller": true,
    });
    let patch = json!({"metadata": {"ownerReferences": [owner]}}).to_string();
    let words = ["-n", NAMESPACE, "patch", "certificaterequest", "web"];
    let plane = rig.cluster().plane();
    plane
        .kubectl(&[&words[..], &["--type=merge", "-p", &patch]].concat())
        .await?;
    requests.approve("web").await?;
    let status = requests.reaches("web", "Issued").await?;
    rig.controller()
        .logged("published", NAMESPACE, "web")
        .await?;

    let request = stored(rig, &["-n", NAMESPACE, "certificaterequest", "web"]).await?;
    let issued_by = stored(rig, &["pkcs11clusterissuer", "issuing"]).await?;
    let pem = status.certificate().context("no certificate")?;
    let (_, leaf) = parse_x509_pem(pem.as_bytes())?;
    let certificate = leaf.parse_x509()?;
    let (_, asked) = parse_x509_pem(csr.as_bytes())?;
    let authority = rig.authority();
    let configuration = authority.configuration(&[super::TENANT]);
    let grant = configuration["tokens"]["issuing"]["grants"][0].to_string();
    let seconds = |time: i64| Timestamp::from_second(time).map(|time| time.to_string());
    let common = json!({
        "request": {
            "kind": "CertificateRequest", "namespace": NAMESPACE, "name": "web",
            "uid": request["metadata"]["uid"], "certificate": "web-tls",
        },
        "requester": {"username": request["spec"]["username"], "groups": request["spec"]["groups"]},
        "approval": {"reason": "rig", "message": "judged by the rig"},
        "issuer": {
            "kind": "PKCS11ClusterIssuer", "name": "issuing",
            "uid": issued_by["metadata"]["uid"], "generation": issued_by["metadata"]["generation"],
            "grantSha256": sha256(grant.as_bytes()),
        },
        "csrSha256": sha256(&asked.contents),
        "token": {"name": "issuing", "label": "issuing", "serial": authority.token().serial()},
        "keyId": "02",
        "issuerCertificateSha256": sha256(authority.issuing().der()),
        "serial": hex::encode(certificate.raw_serial()),
        "subject": subject(&pem).await?,
        "names": names(&certificate)?,
        "ca": certificate.is_ca(),
        "notBefore": seconds(certificate.validity().not_before.timestamp())?,
        "notAfter": seconds(certificate.validity().not_after.timestamp())?,
        "tbsSha256": sha256(certificate.tbs_certificate.as_ref()),
    });
    assert_eq!(common["requester"]["username"], "requester");
    assert_eq!(common["names"].as_array().map(Vec::len), Some(5));

    let lines = rig.controller().lines_of(NAMESPACE, "web")?;
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str()).collect();
    let expected = ["dropped-extension", "signing", "signed", "published"].map(Some);
    assert_eq!(events, expected);
    let created = request["metadata"]["creationTimestamp"].as_str();
    let mut time: Timestamp = created.context("no time")?.parse()?;
    let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp())?;
    for mut line in lines {
        let event = line["event"].clone();
        let at: Timestamp = line["time"].as_str().context("no time")?.parse()?;
        assert!(time <= at && at < not_after, "{event}: {at}");
        time = at;
        let said = line["usages"].as_array().into_iter().flatten();
        let said: BTreeSet<_> = said.filter_map(Value::as_str).collect();
        assert_eq!(said, usages(&certificate)?, "{event}");
        assert_eq!(
            line["issuer"]["profileSha256"].as_str().map(str::len),
            Some(64)
        );
        let fields = line.as_object_mut().context("no object")?;
        let own = match event.as_str() {
            Some("dropped-extension") => Some(("extensions", json!(["1.3.6.1.4.1.99999.1"]))),
            Some("signed") => Some(("certificate", json!(STANDARD.encode(&leaf.contents)))),
            _ => None,
        };
        if let Some((name, value)) = own {
            assert_eq!(fields.remove(name), Some(value), "{event}");
        }
        for apart in ["time", "run", "seq", "event", "usages"] {
            ensure!(fields.remove(apart).is_some(), "{event}: no {apart}");
        }
        let issuer = fields.get_mut("issuer").and_then(Value::as_object_mut);
        issuer.context("no issuer")?.remove("profileSha256");
        assert_eq!(line, common, "{event}");
    }
    Ok(())
}
