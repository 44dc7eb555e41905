//! Broken tokens and PINs.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{Row, accepted, done, each_is_named_first};
use crate::sign::case::Case;

fn rules(case: &Case, rules: &str) -> Result<Vec<String>> {
    case.library.rules(rules)?;
    done()
}

const ROWS: &[Row] = &[
    ("token-present", |case| {
        case.token()["label"] = json!("other");
        done()
    }),
    ("token-unique", |case| {
        let token = case.authority.token();
        // The token stays in the store.
        token.store().make_token(token.label()).map(drop)?;
        done()
    }),
    ("token-initialized", |case| {
        rules(case, "C_GetTokenInfo clear=0x400")
    }),
    ("token-self-test", |case| {
        rules(case, "C_GetTokenInfo flags=0x1000000")
    }),
    ("token-clock", |case| {
        rules(case, "C_GetTokenInfo clock=2020010100000000")
    }),
    ("token-clock", |case| {
        rules(case, "C_GetTokenInfo clock=2026130100000000")
    }),
    ("token-sessions", |case| {
        case.token()["sessions"] = json!(8);
        rules(case, "C_GetTokenInfo max_sessions=8")
    }),
    ("pin-configured", |case| {
        let token = case.token().as_object_mut().context("an object")?;
        token.remove("pinFile");
        done()
    }),
    ("pin-locked", |case| {
        rules(case, "C_GetTokenInfo flags=0x40000")
    }),
    ("pin-final-try", |case| {
        rules(case, "C_GetTokenInfo flags=0x20000")
    }),
    ("pin-to-be-changed", |case| {
        rules(case, "C_GetTokenInfo flags=0x80000")
    }),
    ("pin-set", |case| rules(case, "C_GetTokenInfo clear=0x8")),
    ("pin-count-low", |case| {
        case.authority.token().try_pin("wrong").unwrap_err();
        done()
    }),
    ("pin-readable", |case| {
        fs::remove_file(case.path("pin"))?;
        done()
    }),
    ("pin-record", |case| {
        case.write("pkcs11-issuer-pin-record.json", "none")?;
        done()
    }),
    ("pin-accepted", |case| {
        // The token itself sees no wrong PIN, or its own flag would be named.
        case.library.rules("C_Login rv=CKR_PIN_INCORRECT")?;
        case.sign(&[])?.error()?;
        done()
    }),
    ("login", |case| {
        accepted(case)?;
        rules(case, "C_Login rv=CKR_PIN_INCORRECT")
    }),
];

#[test]
fn each_broken_token_or_pin_is_named_first() -> Result<()> {
    each_is_named_first(ROWS)
}
