//! CRLs that are not published as they should be, unknown hosts, and proxies that cannot be used.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use anyhow::Result;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, SerialNumber, date_time_ymd};
use serde_json::json;
use softhsm_test_helpers::CaCertificate;

use super::{Row, done, each_is_named_first};
use crate::{
    doctor::{Reported, command},
    sign::case::Case,
};

/// Serves these octets at every path until the test program ends, and names the server in `spec.crl`.
fn publish(case: &mut Case, octets: Vec<u8>) -> Result<Vec<String>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    case.spec()["crl"] = json!({"url": format!("http://{}/crl", listener.local_addr()?)});
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                octets.len()
            );
            // A client that has gone away needs no answer.
            let read = stream.read(&mut [0; 4096]);
            drop(read.and_then(|_| stream.write_all(&[head.as_bytes(), &octets].concat())));
        }
    });
    done()
}

/// Returns a CRL of this CA that ends in this year.
fn crl(of: &CaCertificate, year: i32) -> Result<Vec<u8>> {
    Ok(of.crl(&CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(year, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    })?)
}

const ROWS: &[Row] = &[
    ("crl-reachable", |case| {
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        case.spec()["crl"] = json!({"url": format!("http://{free}/crl")});
        done()
    }),
    ("crl-of-issuer", |case| {
        let foreign = crl(case.authority.root(), 2049)?;
        publish(case, foreign)
    }),
    ("crl-fresh", |case| {
        let ended = crl(case.authority.issuing(), 2021)?;
        publish(case, ended)
    }),
    ("dns-resolves", |case| {
        let urls = ["http://pki.invalid/ca.cer"];
        case.spec()["profile"] = json!({"extensions": {"aia": {"caIssuers": urls}}});
        done()
    }),
];

#[test]
fn each_crl_or_host_that_cannot_be_used_is_named_first() -> Result<()> {
    each_is_named_first(ROWS)
}

#[test]
fn a_published_crl_is_accepted_until_it_ends() -> Result<()> {
    let mut case = Case::new()?;
    let good = crl(case.authority.issuing(), 2049)?;
    publish(&mut case, good)?;
    let reported = Reported::on(&case, &["--only", "crl"])?;
    assert_eq!(reported.first(), None);
    assert_eq!(reported.finding("crl-fresh")?["state"], "ok");
    Ok(())
}

#[test]
fn a_proxy_that_cannot_be_used_is_named_and_its_password_is_not_shown() -> Result<()> {
    for (proxy, state) in [
        ("socks5://user:secret@proxy.example", "fail"),
        ("http://user:secret@proxy.example:3128", "ok"),
    ] {
        let mut command = command()?;
        command
            .args(["--only", "network"])
            .env("HTTPS_PROXY", proxy);
        let reported = Reported::of(&mut command)?;
        assert_eq!(reported.finding("proxy-usable")?["state"], state);
        assert!(!format!("{reported:?}").contains("secret"), "{reported:?}");
    }
    Ok(())
}
