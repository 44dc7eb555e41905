//! Tests golden certificates, one of every shape that a profile can give, with three independent verifiers (OpenSSL,
//! Go and rustls-webpki) and two independent linters (pkilint and zlint).
//!
//! `golden/` has their exact bytes; `UPDATE_GENERATED=1` writes them again. Keys, time and serial number are fixed, and the
//! issuer's Ed25519 signature is deterministic. Every finding of a linter must be listed in `exceptions` with the reason,
//! and every listed finding must occur.

mod authority;
mod exceptions;
mod linters;
mod shapes;
mod verifiers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use pkcs11_issuer::issuance::pem;

use self::{
    authority::{ALGORITHMS, Authority, Issued},
    exceptions::{EXCEPTIONS, NOT_IN_GO, UNREADABLE},
    linters::Linter,
    shapes::{SHAPES, Shape},
};

/// Returns a certificate of every shape from the Ed25519 issuer.
fn golden() -> Vec<Issued> {
    let authority = Authority::golden();
    SHAPES.iter().map(|shape| authority.issue(shape)).collect()
}

/// Returns the plainest shape from an issuer with every kind of key and every algorithm of that key.
fn of_every_algorithm() -> Vec<Issued> {
    let issue = |(name, algorithm)| {
        let shape = Shape {
            name,
            ..Shape::LEAF
        };
        Authority::signing_with(algorithm).issue(&shape)
    };
    ALGORITHMS.iter().copied().map(issue).collect()
}

#[test]
fn every_golden_certificate_is_unchanged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/issuance/golden");
    let mut expected = BTreeSet::new();
    for (issued, shape) in golden()
        .iter()
        .zip(SHAPES)
        .filter(|(_, shape)| shape.is_fixed())
    {
        let file = folder.join(format!("{}.pem", shape.name));
        let text = pem::encode("CERTIFICATE", &issued.der);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let golden = fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}; run `make generated`", file.display()));
        assert_eq!(
            text, golden,
            "{} has changed: compare both with openssl x509; if the change is intended, run `make generated`",
            shape.name
        );
        expected.insert(file);
    }
    let found: BTreeSet<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(found, expected, "a golden certificate has no shape");
}

#[test]
fn openssl_and_webpki_accept_every_golden_certificate_and_every_algorithm() {
    for issued in golden().iter().chain(&of_every_algorithm()) {
        verifiers::openssl(issued);
        verifiers::webpki(issued);
    }
}

#[test]
fn go_accepts_every_golden_certificate_and_every_algorithm_but_the_listed_ones() {
    let mut certificates = golden();
    certificates.extend(of_every_algorithm());
    let refused = verifiers::go(&certificates);
    let listed: BTreeMap<String, String> = NOT_IN_GO
        .iter()
        .map(|(name, words, _)| ((*name).to_owned(), (*words).to_owned()))
        .collect();
    assert_eq!(refused, listed);
}

#[test]
fn pkilint_and_zlint_find_exactly_the_listed_exceptions() {
    let mut certificates = golden();
    certificates.extend(of_every_algorithm());
    let mut wrong = Vec::new();
    for linter in Linter::ALL {
        let unreadable = |issued: &Issued| {
            let mut all = UNREADABLE.iter().filter(|entry| entry.linter == linter);
            all.find(|entry| entry.shape == issued.name)
        };
        let (hidden, readable): (Vec<_>, Vec<_>) = certificates
            .iter()
            .partition(|issued| unreadable(issued).is_some());
        let Some(findings) = linter.run(&readable) else {
            continue;
        };
        for issued in hidden {
            if linter.reads(issued) {
                let reason = unreadable(issued).map_or("", |entry| entry.reason);
                wrong.push(format!("{linter:?} reads {} now: {reason}", issued.name));
            }
        }
        let mut listed = BTreeSet::new();
        for exception in EXCEPTIONS.iter().filter(|e| e.linter == linter) {
            for finding in exception.findings() {
                if !findings.contains(&finding) {
                    wrong.push(format!(
                        "{linter:?} no longer finds {finding}: remove it from the list ({})",
                        exception.reason
                    ));
                }
                listed.insert(finding);
            }
        }
        let unlisted = findings.difference(&listed);
        wrong.extend(
            unlisted.map(|finding| format!("{linter:?} has an unlisted finding: {finding}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
