//! Plans that are accepted, and those that are refused with the place of the fault.

use super::*;

pub(crate) const PLAN: &str = include_str!("../../tests/it/plan.yaml");

/// Reads a plan beside which there are no files.
fn parsed(text: &str) -> Result<Plan, PlanError> {
    Plan::parse(text.as_bytes(), &|_| {
        Err(std::io::ErrorKind::NotFound.into())
    })
}

#[test]
fn the_example_is_a_plan() {
    let plan = parsed(PLAN).unwrap();
    assert_eq!(plan.keys().count(), 4);
    assert_eq!(plan.audit_key().unwrap().0, "audit");
}

#[test]
fn what_the_format_does_not_know_is_refused_with_its_line() {
    let error = |from: &str, to: &str| {
        assert!(PLAN.contains(from), "{from}");
        let text = PLAN.replacen(from, to, 1);
        parsed(&text).unwrap_err().to_string()
    };
    let said = error("pathLength: 1", "pathLen: 1");
    assert!(said.contains("pathLen") && said.contains("line"), "{said}");
    let said = error("- root:", "- bake:");
    assert!(said.contains("bake") && said.contains("line"), "{said}");
    for (from, to, expected) in [
        ("tool: 0.1.0", "tool: 9.9.9", "9.9.9"),
        ("key: root-key", "key: nothing", "names no earlier step"),
        ("issuer: root", "issuer: root-key", "names no earlier step"),
        ("5b02", "8b02", "serial number"),
        ("name: issuing-key", "name: root-key", "same name"),
        ("name: root-key", "name: Root", "characters"),
        ("label: issuing-2026", "label: root-2026", "same key label"),
        ("CN=Example Root", "Example Root", "is not like"),
        ("notAfter: 2046", "notAfter: 2016", "notAfter"),
        ("audit-key:", "keygen:", "exactly one audit-key"),
    ] {
        let said = error(from, to);
        assert!(said.contains(expected), "{from}: {said}");
    }
}

#[test]
fn a_plan_with_characters_that_nobody_sees_is_refused() {
    // To clear the line, to turn the text around, to go back to the line's start, and to take no room.
    for hidden in ["\u{1b}[2K", "\u{202e}", "\r", "\u{200b}"] {
        let text = PLAN.replacen("CN=Example Root", &format!("CN={hidden}Example Root"), 1);
        let said = parsed(&text).unwrap_err().to_string();
        let line = 1 + PLAN
            .split("CN=Example Root")
            .next()
            .unwrap()
            .matches('\n')
            .count();
        assert!(said.contains(&format!("line {line} ")), "{said}");
    }
}

#[test]
fn another_plan_or_another_step_gives_another_id() {
    let plan = parsed(PLAN).unwrap();
    let other = parsed(&format!("{PLAN}\n# changed\n")).unwrap();
    assert_eq!(plan.key_id("root-key"), plan.key_id("root-key"));
    assert_ne!(plan.key_id("root-key"), plan.key_id("issuing-key"));
    assert_ne!(plan.key_id("root-key"), other.key_id("root-key"));
}
