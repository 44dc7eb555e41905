//! Makes the CertificateRevocation that a user asks for. Pure.

use anyhow::{Context as _, bail, ensure};
use kube::api::ObjectMeta;
use serde::Serialize;

use super::snapshot::SeenRequest;
use crate::{
    api::{
        IssuerName,
        revocation::{
            CertificateRevocation, CertificateRevocationSpec, RequestRef, RevocationIssuer,
            RevocationSpec,
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

/// Returns the revocation, without a status, and what it revokes in words.
///
/// # Errors
/// There is nothing to revoke, or a part is malformed.
pub(super) fn object(
    what: &ToRevoke<'_>,
    issuer: &IssuerName,
    namespace: &str,
    reason: &str,
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
        invalidity_date: None,
        renew,
        renew_within: None,
        release: false,
    };
    let (prefix, revokes) = match what {
        ToRevoke::Request(request) => {
            ensure!(
                request.is_certificate_request(),
                "a Kubernetes CSR cannot be named by a revocation; give its certificate with --certificate and --proof"
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
            let (made, revokes) = object(&what, &issuer(None), "pki", reason, false).unwrap();
            assert_eq!(made.spec.0.serial_number.as_deref(), Some("1f2e"));
            assert!(revokes.contains("1f2e"), "{revokes}");
        }
        object(
            &ToRevoke::Serial("1".to_owned()),
            &issuer(None),
            "pki",
            "Boredom",
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
            let (made, _) = object(&what, &issuer(issuer_in), "shop", "Superseded", false).unwrap();
            assert_eq!(made.spec.0.issuer_ref.namespace.as_deref(), named);
            assert_eq!(made.metadata.generate_name.as_deref(), Some("serial-"));
        }
    }

    #[test]
    fn a_file_that_is_no_certificate_is_refused() {
        let what = ToRevoke::Certificate("key".to_owned(), None);
        let error = object(&what, &issuer(None), "shop", "Superseded", false).unwrap_err();
        assert!(error.to_string().contains("--certificate"), "{error}");
    }
}
