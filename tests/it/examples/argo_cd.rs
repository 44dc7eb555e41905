//! Runs the documentation's health check for Argo CD with Lua.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use pkcs11_issuer::api::issuer::Reason;
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../../docs/issuers.md");

/// Returns a JSON value as a Lua expression.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(list) => format!(
            "{{{}}}",
            list.iter().map(lua).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| format!("[{name:?}] = {}", lua(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Returns the status and the message that the page's health check gives for an object.
fn health(object: &Value) -> Result<String> {
    let (_, check) = PAGE.split_once("```lua\n").context("no health check")?;
    let (check, _) = check.split_once("```").context("no end of the check")?;
    let program = format!(
        "obj = {}\nlocal function check()\n{check}end\nlocal hs = check()\nio.write(hs.status, \": \", hs.message)",
        lua(object)
    );
    let output = Command::new("lua5.4").args(["-e", &program]).output();
    let output = output.context("run lua5.4; tests/setup/packages installs it")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns an issuer of generation 2.
fn issuer(status: &Value) -> Value {
    json!({"metadata": {"generation": 2}, "status": status})
}

fn judged(observed: i64, ready: &str, reason: &str) -> Value {
    issuer(&json!({
        "observedGeneration": observed,
        "conditions": [
            {"type": "CAExpiringSoon", "status": "False", "reason": "NotExpiringSoon", "message": "n"},
            {"type": "Ready", "status": ready, "reason": reason, "message": "m"},
        ],
    }))
}

#[test]
fn argo_cd_waits_for_the_first_look_and_for_what_passes() -> Result<()> {
    let waiting = "Progressing: Waiting for a look at the issuer";
    let cases = [
        (issuer(&Value::Null), waiting),
        (issuer(&json!({"observedGeneration": -1})), waiting),
        (judged(1, "True", "Verified"), waiting),
        (judged(2, "True", "Verified"), "Healthy: m"),
        (judged(2, "False", "TokenUnavailable"), "Progressing: m"),
        (judged(2, "False", "KeyNotFound"), "Degraded: m"),
    ];
    for (object, expected) in cases {
        assert_eq!(health(&object)?, expected, "{object}");
    }
    let (_, passes) = PAGE.split_once("passes = {").context("no reasons")?;
    let (passes, _) = passes.split_once('}').context("no end")?;
    for passing in passes.split(", ") {
        let word = passing.trim_end_matches(" = true");
        ensure!(Reason::named(word).is_some(), "{word} is not a reason");
    }
    Ok(())
}
