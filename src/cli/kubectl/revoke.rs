//! Makes the CertificateRevocation that a user asks for. Pure.

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{ResourceExt as _, api::ObjectMeta};
use serde::Serialize;

use super::snapshot::SeenRequest;
use crate::{
    api::{
        IssuerName,
        revocation::{
            CertificateRevocation, CertificateRevocationSpec, RequestRef, RevocationIssuer,
            RevocationReason, RevocationSpec,
        },
    },
    issuance::PresentedCertificate,
};

/// What is to be revoked.
#[derive(Debug)]
pub(super) enum ToRevoke<'a> {
    /// The certificate in the status of this request.
    Request(&'a SeenRequest),
    /// This certificate in PEM, with the proof for it.
    Certificate(String, Option<String>),
    /// This serial number.
    Serial(String),
}

/// What a revocation became, or would become.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RevokeRecord {
    /// What is revoked, in words.
    pub(super) revokes: String,
    /// Whether nothing was created.
    pub(super) dry_run: bool,
    /// The object as the API server has it.
    pub(super) object: CertificateRevocation,
}

/// What the release of a hold became, or would become.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReleaseRecord {
    /// What is released, in words.
    pub(super) releases: String,
    /// Whether nothing was changed.
    pub(super) dry_run: bool,
    /// The object as the API server has it.
    pub(super) object: CertificateRevocation,
}

/// Returns in words what becomes valid again if this revocation is taken back.
///
/// # Errors
/// It is final, or was taken back before.
pub(super) fn held(object: &CertificateRevocation) -> anyhow::Result<String> {
    let (name, spec) = (object.name_any(), &object.spec.0);
    ensure!(
        spec.reason == RevocationReason::CertificateHold,
        "{name} is final: its reason is {:?}, and only a CertificateHold can be taken back",
        spec.reason
    );
    ensure!(!spec.release, "{name} was taken back before");
    let status = object.status.as_ref();
    let serial = status.and_then(|status| status.serial_number.as_deref());
    let certificate = serial.map_or_else(
        || "the certificate".to_owned(),
        |serial| format!("the certificate with the serial number {serial}"),
    );
    let issuer = spec.issuer_ref.of(&object.namespace().unwrap_or_default());
    Ok(format!(
        "{certificate} that {name} has put on hold, issued by {issuer}"
    ))
}

/// Returns the revocation, without a status, and what it revokes in words.
///
/// # Errors
/// There is nothing to revoke, or a part is malformed.
pub(super) fn object(
    what: &ToRevoke<'_>,
    issuer: &IssuerName,
    namespace: &str,
    reason: &str,
    invalidity_date: Option<Timestamp>,
    renew: bool,
) -> anyhow::Result<(CertificateRevocation, String)> {
    let mut to = RevocationIssuer::to(issuer);
    // Without a namespace it is the revocation's own. Only the controller's namespace may name another one.
    to.namespace = to.namespace.filter(|place| place != namespace);
    let mut spec = RevocationSpec {
        issuer_ref: to,
        certificate_request_ref: None,
        certificate: None,
        proof: None,
        serial_number: None,
        reason: serde_json::from_value(reason.into()).context("--reason is unknown")?,
        invalidity_date: invalidity_date.map(Time),
        renew,
        renew_within: None,
        release: false,
    };
    let (prefix, revokes) = match what {
        ToRevoke::Request(request) => {
            ensure!(
                request.is_certificate_request(),
                "a revocation can name no {}; give its certificate with --certificate and --proof",
                request.kind.as_str()
            );
            let Some(serial) = &request.serial else {
                bail!("{request} has no certificate that could be revoked");
            };
            spec.certificate_request_ref = Some(RequestRef {
                name: request.name.clone(),
            });
            let words = format!(
                "the certificate with the serial number {serial} of {request}, issued by {issuer}"
            );
            (request.name.clone(), words)
        }
        ToRevoke::Certificate(pem, proof) => {
            let read = PresentedCertificate::parse_pem(pem.as_bytes());
            let read = read.context("--certificate is not a certificate in PEM")?;
            spec.certificate = Some(pem.clone());
            spec.proof = proof.as_ref().map(|proof| proof.trim().to_owned());
            let serial = read.serial();
            let words =
                format!("the certificate with the serial number {serial}, issued by {issuer}");
            ("certificate".to_owned(), words)
        }
        ToRevoke::Serial(serial) => {
            let serial = serial.replace(':', "").to_lowercase();
            let words =
                format!("the certificate with the serial number {serial}, issued by {issuer}");
            spec.serial_number = Some(serial);
            ("serial".to_owned(), words)
        }
    };
    let mut object = CertificateRevocation::new("", CertificateRevocationSpec(spec));
    object.metadata = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        // The API server shortens a long prefix.
        generate_name: Some(format!("{prefix}-")),
        ..ObjectMeta::default()
    };
    Ok((object, revokes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::REVOCATION_REASONS;

    fn issuer(namespace: Option<&str>) -> IssuerName {
        IssuerName {
            namespace: namespace.map(str::to_owned),
            name: "issuing".to_owned(),
        }
    }

    #[test]
    fn every_reason_of_the_command_line_is_one_of_the_kind() {
        for reason in REVOCATION_REASONS {
            let what = ToRevoke::Serial("1F:2e".to_owned());
            let (made, revokes) = object(&what, &issuer(None), "pki", reason, None, false).unwrap();
            assert_eq!(made.spec.0.serial_number.as_deref(), Some("1f2e"));
            assert!(revokes.contains("1f2e"), "{revokes}");
        }
        object(
            &ToRevoke::Serial("1".to_owned()),
            &issuer(None),
            "pki",
            "Boredom",
            None,
            false,
        )
        .unwrap_err();
    }

    #[test]
    fn an_issuer_of_the_same_namespace_is_named_without_it() {
        for (issuer_in, named) in [
            (Some("shop"), None),
            (Some("pki"), Some("pki")),
            (None, None),
        ] {
            let what = ToRevoke::Serial("1f".to_owned());
            let (made, _) =
                object(&what, &issuer(issuer_in), "shop", "Superseded", None, false).unwrap();
            assert_eq!(made.spec.0.issuer_ref.namespace.as_deref(), named);
            assert_eq!(made.metadata.generate_name.as_deref(), Some("serial-"));
        }
    }

    #[test]
    fn only_a_hold_that_lasts_can_be_taken_back() {
        let revocation = |reason: &str, release: bool| {
            let what = ToRevoke::Serial("1f".to_owned());
            let (mut made, _) = object(&what, &issuer(None), "shop", reason, None, false).unwrap();
            made.metadata.name = Some("web-1-abc".to_owned());
            made.spec.0.release = release;
            made
        };
        let words = held(&revocation("CertificateHold", false)).unwrap();
        assert_eq!(
            words,
            "the certificate that web-1-abc has put on hold, issued by PKCS11ClusterIssuer issuing"
        );
        for (made, why) in [
            (revocation("KeyCompromise", false), "final"),
            (revocation("CertificateHold", true), "before"),
        ] {
            let error = held(&made).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_certificate_is_refused() {
        let what = ToRevoke::Certificate("key".to_owned(), None);
        let error = object(&what, &issuer(None), "shop", "Superseded", None, false).unwrap_err();
        assert!(error.to_string().contains("--certificate"), "{error}");
    }
}
