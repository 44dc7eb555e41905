//! Tests of leaves that would be too long.

use serde_json::{Value, json};

use super::*;
use crate::audit::tests::{NOW, PROGRAM};

fn composer() -> Composer {
    Composer::new(LogRun {
        origin: "prod/replica-0/00ff".to_owned(),
        id: "00ff".to_owned(),
        program: PROGRAM,
    })
}

/// Composes one line and returns all lines.
fn lines(fields: &Fields) -> Vec<Value> {
    let mut out = Vec::new();
    composer().line(&mut out, NOW, "published", &[fields]);
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines();
    let mut frontier = Frontier::default();
    for line in lines.clone() {
        assert!(line.len() <= MAX_LEAF, "{}", line.len());
        frontier.push(TreeHash::of_leaf(line.as_bytes()));
    }
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Joins the texts of the continuation leaves of a field.
fn joined(lines: &[Value], field: &str) -> String {
    let parts: Vec<_> = lines.iter().filter(|line| line["field"] == field).collect();
    for (index, part) in parts.iter().enumerate() {
        assert_eq!(part["event"], "continuation");
        assert_eq!(part["of"], 0);
        assert_eq!(part["part"], index + 1);
        assert_eq!(part["parts"], parts.len());
    }
    let texts = parts.iter().map(|part| part["text"].as_str().unwrap());
    texts.collect()
}

#[test]
fn a_field_that_is_too_long_follows_in_continuation_leaves() {
    for letter in ["x", "\"", "\\", "\n", "ä", "\u{1f511}"] {
        let names = vec![letter.repeat(50); 3000];
        let fields = Fields::default()
            .with("subject", "CN=web")
            .with("names", &names)
            .with("reason", "superseded");
        let lines = lines(&fields);
        let text = serde_json::to_string(&names).unwrap();
        let hash = hex::encode(digest(&SHA256, text.as_bytes()));
        assert_eq!(
            lines[0],
            json!({
                "time": "1970-01-01T00:00:00Z", "run": "00ff", "seq": 0, "event": "published", "subject": "CN=web",
                "names": {"sha256": hash, "octets": text.len(), "count": 3000}, "reason": "superseded",
            })
        );
        assert_eq!(joined(&lines, "names"), text, "{letter}");
        for (seq, line) in lines.iter().enumerate() {
            assert_eq!(line["seq"], seq);
        }
    }
}

#[test]
fn no_more_fields_than_necessary_are_replaced_the_longest_first() {
    let fields = Fields::default()
        .with("subject", &"s".repeat(30_000))
        .with("names", &["n".repeat(40_000)])
        .with("approval", &json!({"message": "a".repeat(50_000)}));
    let lines = lines(&fields);
    let is_replaced = |name: &str| lines[0][name].get("octets").is_some();
    assert_eq!(
        ["subject", "names", "approval"].map(is_replaced),
        [false, true, true]
    );
    assert_eq!(
        joined(&lines, "names"),
        json!(["n".repeat(40_000)]).to_string()
    );
    let approval = json!({"message": "a".repeat(50_000)});
    assert_eq!(joined(&lines, "approval"), approval.to_string());
}

#[test]
fn a_line_of_exactly_the_limit_is_one_leaf_and_one_octet_more_is_not() {
    let of = |length: usize| lines(&Fields::default().with("subject", &"s".repeat(length)));
    let empty = of(0)[0].to_string().len();
    assert_eq!(of(MAX_LEAF - empty).len(), 1);
    assert_eq!(of(MAX_LEAF - empty + 1).len(), 3);
}
