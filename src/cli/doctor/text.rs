//! The report for people. Texts of others were escaped when they were found.

use std::ops::Range;

use anstyle::Style;

use super::{
    check::{CheckGroup, CheckState},
    findings::{Ended, Finding, name},
};
use crate::cli::output::{BAD, GOOD, HEAD, WARN, columns, styled};

/// Returns the report: a section for each group, the cure and the page below each failure and warning, and a last line with the
/// numbers.
pub(super) fn report(ended: &Ended) -> String {
    let mut text = String::new();
    for group in CheckGroup::ALL {
        let of_group = ended.checks.iter().filter(|it| it.id.group() == *group);
        let rows: Vec<_> = of_group.flat_map(rows).collect();
        if !rows.is_empty() {
            let rows = styled(&columns(&rows), state);
            text += &format!("{HEAD}{}{HEAD:#}\n{rows}\n", group.as_str());
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

/// Returns where the state stands at the beginning of a row, with its style.
fn state(row: &str) -> Option<(Range<usize>, Style)> {
    let word = row.strip_prefix("  ")?.split(' ').next()?;
    let style = match word {
        "FAIL" => BAD,
        "WARN" => WARN,
        "ok" => GOOD,
        _ => return None,
    };
    Some((2..2 + word.len(), style))
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
