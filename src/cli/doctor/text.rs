//! The report for people. Texts of others were escaped when they were found.

use super::{
    check::{CheckGroup, CheckState},
    findings::{Ended, Finding, name},
};
use crate::cli::output::columns;

/// Returns the report: a section for each group, the cure and the page below each failure and warning, and a last line with the
/// numbers.
pub(super) fn report(ended: &Ended) -> String {
    let mut text = String::new();
    for group in CheckGroup::ALL {
        let of_group = ended.checks.iter().filter(|it| it.id.group() == *group);
        let rows: Vec<_> = of_group.flat_map(rows).collect();
        if !rows.is_empty() {
            text += &format!("{}\n{}\n", group.as_str(), columns(&rows));
        }
    }
    let count = |state| ended.summary.get(name(state)).copied().unwrap_or_default();
    text + &format!(
        "{} failed, {} to look at, {} ok, {} skipped\n",
        count(CheckState::Fail),
        count(CheckState::Warn),
        count(CheckState::Ok),
        count(CheckState::Skipped),
    )
}

fn rows(finding: &Finding) -> Vec<[String; 3]> {
    let state = match finding.state {
        CheckState::Fail => "  FAIL",
        CheckState::Warn => "  WARN",
        CheckState::Ok => "  ok",
        CheckState::Skipped => "  -",
    };
    let message = match &finding.subject {
        Some(subject) => format!("{subject}: {}", finding.message),
        None => finding.message.clone(),
    };
    let mut rows = vec![[state.to_owned(), finding.id.as_str().to_owned(), message]];
    if let Some(cure) = finding.cure {
        let below = |text: String| [String::new(), String::new(), text];
        rows.push(below(format!("-> {}", cure.replace('`', ""))));
        rows.push(below(format!("   {}", finding.page)));
    }
    rows
}
