//! What the pages of the documentation say about a reason or a refusal: the plugin shows their words instead of its own.

use serde::Serialize;

use crate::{api::issuer::Reason, issuance::RefusalReason};

const ISSUERS: &str = include_str!("../../../docs/issuers.md");
const REFUSALS: &str = include_str!("../../../docs/refusals.md");
/// Where the pages are.
const DOCS: &str = "https://github.com/pkcs11-issuer/pkcs11-issuer/blob/main/docs";

/// What a condition's reason means, in plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReasonPage {
    /// What is the case.
    pub(super) meaning: String,
    /// Who has to act.
    pub(super) who: String,
    /// What they do.
    pub(super) what_to_do: String,
}

/// What the word of a refusal means, in plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefusalPage {
    /// What is wrong with such requests.
    pub(super) meaning: String,
    /// One such request.
    pub(super) example: String,
    /// What the requester does.
    pub(super) what_to_do: String,
    /// The address of the section.
    pub(super) page: String,
}

/// Returns what `docs/issuers.md` says about a reason.
pub(super) fn of_reason(reason: Reason) -> Option<ReasonPage> {
    let start = format!("| `{reason}` |");
    let row = ISSUERS.lines().find(|line| line.starts_with(&start))?;
    let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
    let &[_, meaning, who, what_to_do] = cells.as_slice() else {
        return None;
    };
    Some(ReasonPage {
        meaning: plain(meaning),
        who: plain(who),
        what_to_do: plain(what_to_do),
    })
}

/// Returns what `docs/refusals.md` says about a refusal.
pub(super) fn of_refusal(reason: RefusalReason) -> Option<RefusalPage> {
    let slug = reason.as_str();
    let (_, section) = REFUSALS.split_once(&format!("\n### {slug}\n"))?;
    let section = section.split("\n#").next()?;
    let (meaning, section) = section.split_once("\nExample: ")?;
    let (example, what_to_do) = section.split_once("\nDo: ")?;
    Some(RefusalPage {
        meaning: plain(meaning),
        example: plain(example),
        what_to_do: plain(what_to_do),
        page: page(&format!("refusals.md#{slug}")),
    })
}

/// Returns the address of a page.
pub(super) fn page(path: &str) -> String {
    format!("{DOCS}/{path}")
}

/// Returns Markdown as text on one line: without the marks of code, and with the texts of links only.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, after)) = rest.split_once("](") {
        let (kept, linked) = before.rsplit_once('[').unwrap_or((before, ""));
        text.push_str(kept);
        text.push_str(linked);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let text = text.replace('`', "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_every_refusal_has_its_words() {
        for reason in Reason::ALL {
            let page = of_reason(*reason).unwrap_or_else(|| panic!("{reason}"));
            let texts = [&page.meaning, &page.who, &page.what_to_do];
            assert!(texts.iter().all(|text| !text.is_empty()), "{page:?}");
        }
        for reason in RefusalReason::ALL {
            let page = of_refusal(*reason).unwrap_or_else(|| panic!("{reason:?}"));
            let texts = [&page.meaning, &page.example, &page.what_to_do];
            assert!(texts.iter().all(|text| !text.is_empty()), "{page:?}");
            assert!(texts.iter().all(|text| !text.contains("###")), "{page:?}");
        }
    }

    #[test]
    fn links_and_marks_become_plain_text() {
        assert_eq!(
            plain("See ([how](issuers.md#x)) `spec.crl`,\nor [a](b)."),
            "See (how) spec.crl, or a."
        );
        assert_eq!(plain("an index a[0] and (b)"), "an index a[0] and (b)");
    }
}
