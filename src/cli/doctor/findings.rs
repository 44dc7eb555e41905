//! The report: what each check found, of those that were asked for.

use std::{collections::BTreeMap, fmt};

use anyhow::bail;
use serde::Serialize;

use super::check::{CheckGroup, CheckId, CheckState, FailedCheck};
use crate::message::shown;

/// The checks that the user wants.
#[derive(Debug)]
pub(super) struct Selection {
    only: Vec<CheckId>,
    skip: Vec<CheckId>,
}

impl Selection {
    /// Reads the words of `--only` and `--skip`: ids of checks, and names of groups for all of their checks.
    ///
    /// # Errors
    /// A word is neither.
    pub(super) fn parse(only: &[String], skip: &[String]) -> anyhow::Result<Self> {
        Ok(Self {
            only: named(only)?,
            skip: named(skip)?,
        })
    }

    fn has(&self, id: CheckId) -> bool {
        (self.only.is_empty() || self.only.contains(&id)) && !self.skip.contains(&id)
    }
}

fn named(words: &[String]) -> anyhow::Result<Vec<CheckId>> {
    let mut ids = Vec::new();
    for word in words {
        let fits = |id: &CheckId| id.as_str() == word || id.group().as_str() == word;
        let before = ids.len();
        ids.extend(CheckId::ALL.iter().copied().filter(fits));
        if ids.len() == before {
            let groups: Vec<_> = CheckGroup::ALL.iter().map(|group| group.as_str()).collect();
            bail!(
                "there is no check {word:?}; name a check of docs/doctor.md, or one of the groups {}",
                groups.join(", ")
            );
        }
    }
    Ok(ids)
}

/// What a check found about one thing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Finding {
    pub(super) id: CheckId,
    pub(super) state: CheckState,
    /// What it is about, such as a token; none if there is only one such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    pub(super) message: String,
    /// Only of a warning or a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cure: Option<&'static str>,
    pub(super) page: String,
}

/// The findings so far.
#[derive(Debug)]
pub(super) struct Findings {
    selection: Selection,
    all: Vec<Finding>,
}

impl Findings {
    pub(super) const fn new(selection: Selection) -> Self {
        Self {
            selection,
            all: Vec::new(),
        }
    }

    /// Returns whether the user wants any of these checks.
    pub(super) fn want(&self, ids: &[CheckId]) -> bool {
        ids.iter().any(|id| self.selection.has(*id))
    }

    /// Adds a finding, unless the user does not want the check. `message` may contain texts of others.
    pub(super) fn add(
        &mut self,
        id: CheckId,
        state: CheckState,
        subject: &str,
        message: impl fmt::Display,
    ) {
        if !self.selection.has(id) {
            return;
        }
        let acts = matches!(state, CheckState::Warn | CheckState::Fail);
        self.all.push(Finding {
            id,
            state,
            subject: (!subject.is_empty()).then(|| shown(subject)),
            message: shown(message),
            cure: acts.then(|| id.cure()),
            page: id.page(),
        });
    }

    /// Skips checks for a reason.
    pub(super) fn skip(&mut self, ids: &[CheckId], subject: &str, why: impl fmt::Display) {
        let why = why.to_string();
        for id in ids {
            self.add(*id, CheckState::Skipped, subject, &why);
        }
    }

    /// Skips checks because of one that failed or was skipped.
    pub(super) fn skip_after(&mut self, ids: &[CheckId], subject: &str, needed: CheckId) {
        self.skip(ids, subject, after(needed));
    }

    /// Skips those of these checks that have no finding yet.
    pub(super) fn skip_rest(&mut self, ids: &[CheckId], why: impl fmt::Display) {
        let why = why.to_string();
        for id in ids {
            if self.all.iter().all(|finding| finding.id != *id) {
                self.add(*id, CheckState::Skipped, "", &why);
            }
        }
    }

    /// Adds the findings of checks that are made one after the other: those before the failed one are ok with this message,
    /// and those after it are skipped. Returns the result of the last one, or the check that failed.
    pub(super) fn chain<T>(
        &mut self,
        ids: &[CheckId],
        subject: &str,
        result: Result<T, FailedCheck>,
        ok: impl fmt::Display,
    ) -> Result<T, CheckId> {
        let ok = ok.to_string();
        let failed = match result {
            Ok(found) => {
                for id in ids {
                    self.add(*id, CheckState::Ok, subject, &ok);
                }
                return Ok(found);
            }
            Err(failed) => failed,
        };
        let mut before = true;
        for id in ids {
            if *id == failed.id {
                self.add(*id, CheckState::Fail, subject, &failed.why);
                before = false;
            } else if before {
                self.add(*id, CheckState::Ok, subject, "nothing is wrong");
            } else {
                self.skip_after(&[*id], subject, failed.id);
            }
        }
        Err(failed.id)
    }

    /// Ends the report. Findings are in the order of the checks, so that the cause stands before what follows from it.
    pub(super) fn end(self) -> Ended {
        let mut checks = self.all;
        checks.sort_by_key(|finding| finding.id);
        let mut summary = BTreeMap::from(
            [
                CheckState::Ok,
                CheckState::Warn,
                CheckState::Fail,
                CheckState::Skipped,
            ]
            .map(|state| (name(state), 0)),
        );
        for finding in &checks {
            *summary.entry(name(finding.state)).or_default() += 1;
        }
        Ended { checks, summary }
    }
}

/// Says that a check is skipped because of one that failed or was skipped.
pub(super) fn after(needed: CheckId) -> String {
    format!("depends on {}", needed.as_str())
}

/// The whole report, as JSON and YAML have it.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Ended {
    pub(super) checks: Vec<Finding>,
    /// The number of findings of each state.
    pub(super) summary: BTreeMap<&'static str, usize>,
}

impl Ended {
    /// Returns whether a check failed.
    pub(super) fn has_failed(&self) -> bool {
        self.checks.iter().any(|it| it.state == CheckState::Fail)
    }
}

/// Returns the word for a state, in the report and in its summary.
pub(super) const fn name(state: CheckState) -> &'static str {
    match state {
        CheckState::Ok => "ok",
        CheckState::Warn => "warn",
        CheckState::Fail => "fail",
        CheckState::Skipped => "skipped",
    }
}
