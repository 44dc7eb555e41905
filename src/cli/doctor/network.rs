//! Checks of the network: the hosts that an issuer names, and the variables of proxies.

use std::{collections::BTreeSet, env, time::Duration};

use http::Uri;
use tokio::{net::lookup_host, time::timeout};

use super::{
    check::{CheckId, CheckState},
    findings::Findings,
    issuer::GivenIssuer,
};
use crate::message::first_of;

/// Time limit for the look-up of one name.
const WITHIN: Duration = Duration::from_secs(5);
/// Variables of proxies that this program reads.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Most hosts that a message names.
const MOST_NAMED: usize = 8;

/// Looks up every host of the URLs that the issuer writes into certificates.
pub(super) async fn dns(findings: &mut Findings, subject: &str, issuer: &GivenIssuer) {
    let hosts = hosts(issuer);
    let ids = [CheckId::DnsResolves];
    if hosts.is_empty() {
        findings.skip(&ids, subject, "the issuer names no host");
        return;
    }
    if !findings.want(&ids) {
        return;
    }
    let mut unknown = Vec::new();
    for host in &hosts {
        let looked = timeout(WITHIN, lookup_host((host.as_str(), 80))).await;
        match looked {
            Ok(Ok(mut found)) => {
                if found.next().is_none() {
                    unknown.push(format!("{host} has no address"));
                }
            }
            Ok(Err(why)) => unknown.push(format!("{host}: {why}")),
            Err(_) => unknown.push(format!("{host}: the look-up took too long")),
        }
    }
    let (state, message) = match unknown.is_empty() {
        true => (
            CheckState::Ok,
            hosts.into_iter().collect::<Vec<_>>().join(", "),
        ),
        false => (CheckState::Fail, first_of(MOST_NAMED, &unknown)),
    };
    findings.add(CheckId::DnsResolves, state, subject, message);
}

/// Returns the hosts of the URLs in an issuer's specification.
fn hosts(issuer: &GivenIssuer) -> BTreeSet<String> {
    let extensions = &issuer.spec.profile.extensions;
    let crl = issuer.spec.crl.as_ref().and_then(|crl| crl.url.as_ref());
    let urls = crl
        .into_iter()
        .chain(&extensions.crl_distribution_points)
        .chain(&extensions.aia.ocsp)
        .chain(&extensions.aia.ca_issuers);
    urls.filter_map(|url| {
        let uri: Uri = url.parse().ok()?;
        Some(uri.host()?.trim_matches(['[', ']']).to_owned())
    })
    .collect()
}

/// Checks the variables of proxies. Credentials in them are not shown.
pub(super) fn proxy(findings: &mut Findings) {
    let set: Vec<_> = PROXIES
        .iter()
        .filter_map(|name| Some((*name, env::var(name).ok().filter(|text| !text.is_empty())?)))
        .collect();
    let id = CheckId::ProxyUsable;
    if set.is_empty() {
        let why = "no variable names a proxy for the API server; CRLs are read without one";
        findings.add(id, CheckState::Ok, "", why);
        return;
    }
    let mut places = Vec::new();
    for (name, text) in set {
        let place = text.parse::<Uri>().ok().and_then(|uri| {
            let is_http = uri.scheme_str() == Some("http");
            let host = uri.host()?.to_owned();
            let port = uri
                .port()
                .map_or_else(String::new, |port| format!(":{port}"));
            is_http.then(|| format!("{host}{port}"))
        });
        let Some(place) = place else {
            let why = format!("{name} is not the URL of a proxy with http://");
            findings.add(id, CheckState::Fail, "", why);
            return;
        };
        places.push(format!("{name} is {place}"));
    }
    findings.add(id, CheckState::Ok, "", places.join(", "));
}
