//! Tests golden certificates, one of every shape that a profile can give, and golden CRLs, with three independent verifiers
//! (OpenSSL, Go and rustls-webpki) and two independent linters (pkilint and zlint).
//!
//! `golden/` and `golden-crls/` have their exact bytes; `UPDATE_GENERATED=1` writes them again. Keys, time and serial number are fixed, and the
//! issuer's Ed25519 signature is deterministic. Every finding of a linter must be listed in `exceptions` with the reason,
//! and every listed finding must occur.

mod authority;
mod crls;
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
    crls::{CRL_SHAPES, Case},
    exceptions::{EXCEPTIONS, NOT_IN_GO, UNREADABLE},
    linters::{Document, Linter},
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

/// Compares each document with its file in a folder of golden ones, which has no other files.
fn compare(folder: &str, label: &str, documents: &[(&str, &[u8])]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut expected = BTreeSet::new();
    for (name, der) in documents {
        let file = folder.join(format!("{name}.pem"));
        let text = pem::encode(label, der);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let golden = fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}; run `make generated`", file.display()));
        assert_eq!(
            text, golden,
            "{name} has changed: compare both with openssl x509 or openssl crl; if the change is intended, run `make generated`"
        );
        expected.insert(file);
    }
    let found: BTreeSet<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(found, expected, "a golden file has no shape");
}

#[test]
fn every_golden_certificate_is_unchanged() {
    let golden = golden();
    let fixed = golden
        .iter()
        .zip(SHAPES)
        .filter(|(_, shape)| shape.is_fixed());
    let documents: Vec<_> = fixed
        .map(|(issued, shape)| (shape.name, &*issued.der))
        .collect();
    compare("tests/it/issuance/golden", "CERTIFICATE", &documents);
}

#[test]
fn every_golden_crl_is_unchanged() {
    let golden: Vec<_> = CRL_SHAPES.iter().map(crls::golden).collect();
    let documents = CRL_SHAPES
        .iter()
        .zip(&golden)
        .map(|(shape, der)| (shape.name, &**der));
    let documents: Vec<_> = documents.collect();
    compare("tests/it/issuance/golden-crls", "X509 CRL", &documents);
}

#[test]
fn openssl_and_webpki_refuse_exactly_the_certificates_that_a_crl_lists() {
    for case in &crls::cases() {
        verifiers::openssl_by_crl(case);
        verifiers::webpki_by_crl(case);
    }
}

#[test]
fn go_finds_exactly_the_certificates_that_a_crl_lists() {
    let cases = crls::cases();
    let expected = |case: &Case| {
        if case.issued.has_ml_dsa {
            return Some(exceptions::UNKNOWN_AUTHORITY.to_owned());
        }
        let reason = case.revoked?;
        Some(format!("revoked for reason {}", reason.code()))
    };
    let expected: BTreeMap<_, _> = cases
        .iter()
        .filter_map(|case| Some((case.name.clone(), expected(case)?)))
        .collect();
    assert_eq!(verifiers::go_by_crl(&cases), expected);
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
    let cases = crls::cases();
    let by_algorithm = cases
        .iter()
        .filter(|case| case.name.starts_with("by-") && case.revoked.is_some());
    let lists: Vec<_> = CRL_SHAPES
        .iter()
        .map(|shape| (format!("crl-{}", shape.name), crls::golden(shape)))
        .collect();
    let mut documents: Vec<_> = certificates.iter().map(Document::Certificate).collect();
    documents.extend(by_algorithm.map(|case| Document::Crl(&case.name, &case.crl)));
    documents.extend(lists.iter().map(|(name, der)| Document::Crl(name, der)));
    let mut wrong = Vec::new();
    for linter in Linter::ALL {
        let unreadable = |document: &Document<'_>| {
            let mut all = UNREADABLE.iter().filter(|entry| entry.linter == linter);
            all.find(|entry| entry.shape == document.name())
        };
        let (hidden, readable): (Vec<_>, Vec<_>) = documents
            .iter()
            .partition(|document| unreadable(document).is_some());
        let Some(findings) = linter.run(&readable) else {
            continue;
        };
        for document in hidden {
            if linter.reads(&document) {
                let reason = unreadable(&document).map_or("", |entry| entry.reason);
                wrong.push(format!(
                    "{linter:?} reads {} now: {reason}",
                    document.name()
                ));
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
