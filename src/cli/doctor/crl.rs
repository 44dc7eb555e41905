//! Checks of the CRLs that an issuer's certificates name: reachable, of the issuer's CA, and not ended.

use jiff::Timestamp;

use super::{
    check::{CheckId, FailedCheck},
    findings::Findings,
    issuer::ExaminedIssuer,
};
use crate::{
    cli::run::crls::fetch,
    issuance::{
        IssuerCertificate,
        crl::{CaId, CrlRules, ReadCrl},
        profile::HttpUrl,
    },
    revocation::FetchCrl,
    telemetry::ErrorChain,
};

/// Checks of a CRL, each after the one before it.
pub(super) const CRL: [CheckId; 3] = [
    CheckId::CrlReachable,
    CheckId::CrlOfIssuer,
    CheckId::CrlFresh,
];

/// Reads the CRL of every shard of the issuer's CA from its URL.
pub(super) async fn crls(findings: &mut Findings, issuer: &ExaminedIssuer, now: Timestamp) {
    if !findings.want(&CRL) {
        return;
    }
    let subject = &issuer.subject;
    let Some(Ok(rules)) = issuer.given.spec.crl.as_ref().map(CrlRules::try_from) else {
        findings.skip(&CRL, subject, "the issuer has no spec.crl");
        return;
    };
    let chain = match &issuer.chain {
        Ok(chain) => chain.chain(),
        Err(id) => {
            findings.skip_after(&CRL, subject, *id);
            return;
        }
    };
    let Some(chain) = chain else {
        return;
    };
    let issuing = chain.issuing();
    let ca = CaId::of(issuing);
    let fetch = fetch();
    for shard in 0..rules.shards().get() {
        let Some(url) = rules.url_of_shard(&ca, shard) else {
            let why = "the issuer has no spec.crl.url, and its certificates name none";
            findings.skip(&CRL, subject, why);
            return;
        };
        let read = published(&fetch, &url, issuing, now).await;
        let (read, ok) = match read {
            Ok(until) => (Ok(()), format!("{}: valid until {until}", url.as_str())),
            Err(failed) => (Err(failed), String::new()),
        };
        // The other shards are at the same place.
        if findings.chain(&CRL, subject, read, ok).is_err() {
            return;
        }
    }
}

/// Returns until when the CRL at a URL is valid.
async fn published(
    fetch: &FetchCrl,
    url: &HttpUrl,
    issuing: &IssuerCertificate,
    now: Timestamp,
) -> Result<Timestamp, FailedCheck> {
    let failed = |id, why: &dyn std::fmt::Display| {
        FailedCheck::new(id, format_args!("{}: {why}", url.as_str()))
    };
    let octets = fetch(url.clone()).await;
    let octets = octets.map_err(|why| failed(CheckId::CrlReachable, &ErrorChain(&why)))?;
    let octets = octets.ok_or_else(|| {
        failed(
            CheckId::CrlReachable,
            &"the answer is HTTP status 404: there is no CRL",
        )
    })?;
    let crl = ReadCrl::parse(&octets);
    let crl = crl.map_err(|why| failed(CheckId::CrlOfIssuer, &ErrorChain(&why)))?;
    let verified = crl.verify(issuing);
    verified.map_err(|why| failed(CheckId::CrlOfIssuer, &ErrorChain(&why)))?;
    let until = crl.next_update();
    if until <= now {
        let why = format_args!("it ended at {until}, so verifiers refuse it");
        return Err(failed(CheckId::CrlFresh, &why));
    }
    Ok(until)
}
