//! Broken issuers, certificates and keys.

use anyhow::{Context as _, Result};
use serde_json::json;
use softhsm_test_helpers::{CaProfile, Kept, KeyKind, SoftwareKey};

use super::{Row, accepted, done, each_is_named_first};
use crate::sign::{case::Case, keys::issue_with};

/// Gives the issuer another certificate for its key, by the same root.
fn certify(case: &mut Case, profile: &CaProfile) -> Result<Vec<String>> {
    let key = case.authority.issuing().key();
    let pem = case.authority.root().issue(key, profile)?.pem();
    case.spec()["certificate"]["pem"] = json!(pem);
    done()
}

/// Makes the issuer sign with a new key with this protection, and logs in once.
fn sign_with(case: &mut Case, kept: Kept) -> Result<Vec<String>> {
    accepted(case)?;
    let token = case.authority.token();
    let key = token.generate_key_kept("other-ca", &[9], KeyKind::P256, kept)?;
    issue_with(case, &key)?;
    done()
}

fn other() -> CaProfile {
    CaProfile::named("Test other").path_length(0)
}

const OF_ISSUERS: &[Row] = &[
    ("issuer-valid", |case| {
        case.spec()["profil"] = json!({});
        done()
    }),
    ("issuer-token", |case| {
        case.spec()["token"] = json!("other");
        done()
    }),
    ("issuer-granted", |case| {
        case.token()["grants"] = json!([{"namespaces": ["shop"], "keys": ["*"]}]);
        done()
    }),
    ("certificate-present", |case| {
        case.spec()["certificate"] = json!({});
        done()
    }),
    ("certificate-valid", |case| {
        certify(case, &other().not_a_ca())
    }),
    ("certificate-chain", |case| {
        let key = case.authority.root().key();
        let foreign = key.self_signed(&CaProfile::named("Test foreign"))?;
        case.spec()["certificate"]["rootPem"] = json!(foreign.pem());
        done()
    }),
    ("certificate-dates", |case| {
        certify(case, &other().expired())
    }),
    ("root-present", |case| {
        let certificate = case.spec()["certificate"].as_object_mut();
        certificate.context("an object")?.remove("rootPem");
        done()
    }),
    ("spec-valid", |case| {
        case.spec()["profile"] = json!({"validity": {"min": "2h", "max": "1h"}});
        done()
    }),
    ("crl-sign", |case| {
        case.spec()["crl"] = json!({});
        certify(case, &other().without_crl_sign())
    }),
    ("certificate-expiry", |case| {
        certify(case, &other().valid_hours(-8000, 48))
    }),
];

const OF_KEYS: &[Row] = &[
    ("key-found", |case| {
        accepted(case)?;
        case.spec()["key"] = json!({"label": "gone"});
        done()
    }),
    ("key-matches", |case| {
        accepted(case)?;
        case.spec()["key"] = json!({"label": "root-ca"});
        done()
    }),
    ("key-unambiguous", |case| {
        accepted(case)?;
        let (token, software) = (case.authority.token(), SoftwareKey::generate()?);
        let key = token.import_key("twin", &[7], &software)?;
        token.import_key("twin", &[8], &software).map(drop)?;
        issue_with(case, &key)?;
        done()
    }),
    ("key-usable", |case| {
        let kept = Kept {
            always_authenticate: true,
            ..Kept::PROTECTED
        };
        sign_with(case, kept)
    }),
    ("certificate-granted", |case| {
        accepted(case)?;
        let certificates = [format!("sha256:{}", "00".repeat(32))];
        case.token()["grants"] = json!([
            {"clusterIssuers": true, "keys": ["*"], "certificates": certificates},
        ]);
        done()
    }),
    ("key-protected", |case| {
        let kept = Kept {
            extractable: true,
            ..Kept::PROTECTED
        };
        sign_with(case, kept)
    }),
    ("profile-granted", |case| {
        accepted(case)?;
        case.spec()["profile"] = json!({"validity": {"min": "48h", "default": "48h"}});
        case.token()["grants"] = json!([
            {"clusterIssuers": true, "keys": ["*"], "limits": {"maxDuration": "24h"}},
        ]);
        done()
    }),
    ("key-algorithm", |case| {
        accepted(case)?;
        case.spec()["signatureAlgorithm"] = json!("SHA256WithRSA");
        done()
    }),
    ("probe-signature", |case| {
        accepted(case)?;
        case.library.rules("C_Sign corrupt")?;
        done()
    }),
];

#[test]
fn each_broken_issuer_or_certificate_is_named_first() -> Result<()> {
    each_is_named_first(OF_ISSUERS)
}

#[test]
fn each_broken_key_is_named_first() -> Result<()> {
    each_is_named_first(OF_KEYS)
}
