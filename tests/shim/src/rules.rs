//! The language of rules; see the package's README.

mod change;

use std::{str::FromStr, time::Duration};

use cryptoki_sys::{CK_MECHANISM_TYPE, CK_RV, CK_ULONG, CKF_RW_SESSION};
use thiserror::Error;

pub(crate) use self::change::{Change, TokenChange};
use crate::{Function, code};

/// List of rules; the first that fires decides.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

/// Error in a line of rules.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line} is not a rule: {why}")]
pub struct RulesError {
    /// Number of the line, counted from one.
    pub line: usize,
    /// What is wrong with the line.
    pub why: String,
}

/// Action of a rule, and the calls on which it fires.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The function that the rule names; `None` for all functions.
    function: Option<Function>,
    /// The calls of the function that the rule applies to.
    only: Only,
    pub(crate) delay: Duration,
    pub(crate) action: Action,
    skip: u64,
    every: u64,
    count: u64,
}

/// Condition on the arguments of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Only {
    All,
    /// `C_SignInit`, `C_GetMechanismInfo`: calls with this mechanism.
    Mechanism(CK_MECHANISM_TYPE),
    /// `C_OpenSession`: calls that ask for a read-only session.
    Reading,
}

impl Only {
    fn suits(self, function: Option<Function>) -> bool {
        use Function as F;
        match self {
            Self::All => true,
            Self::Mechanism(_) => matches!(function, Some(F::C_SignInit | F::C_GetMechanismInfo)),
            Self::Reading => function == Some(F::C_OpenSession),
        }
    }

    /// `detail`: the mechanism of a call, or the flags of a session.
    fn holds(self, detail: Option<CK_ULONG>) -> bool {
        match self {
            Self::All => true,
            Self::Mechanism(mechanism) => detail == Some(mechanism),
            Self::Reading => detail.is_some_and(|flags| flags & CKF_RW_SESSION == 0),
        }
    }
}

/// Action on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The rule only delays the call.
    Pass,
    /// The call returns `code`; with `after_call`, only after the library has done it.
    Answer {
        code: CK_RV,
        after_call: bool,
    },
    Hang,
    Segv,
    Abort,
    Exit(i32),
    /// The library does the call, and arguments or answer are changed.
    Change(Change),
}

impl Rules {
    /// Returns the rules for a call of this function, each with its place in the list. `detail`: the mechanism or the
    /// flags in its arguments.
    pub(crate) fn about(
        &self,
        function: Function,
        detail: Option<CK_ULONG>,
    ) -> impl Iterator<Item = (usize, &Rule)> {
        let about = move |rule: &Rule| {
            rule.function.is_none_or(|named| named == function) && rule.only.holds(detail)
        };
        self.0
            .iter()
            .enumerate()
            .filter(move |(_, rule)| about(rule))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Rule {
    /// Returns whether the rule fires on the call with this number; the first call that it sees has number 0.
    pub(crate) fn fires(&self, nth: u64) -> bool {
        let Some(counted) = nth.checked_sub(self.skip) else {
            return false;
        };
        (counted + 1).is_multiple_of(self.every) && counted / self.every < self.count
    }
}

impl FromStr for Rules {
    type Err = RulesError;

    fn from_str(text: &str) -> Result<Self, RulesError> {
        let mut rules = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text
                .split_once('#')
                .map_or(text, |(before, _)| before)
                .trim();
            if !text.is_empty() {
                rules.push(rule(text).map_err(|why| RulesError { line, why })?);
            }
        }
        Ok(Self(rules))
    }
}

fn rule(line: &str) -> Result<Rule, String> {
    let mut words = line.split_whitespace();
    let function = match words.next() {
        Some("*") | None => None,
        Some(name) => {
            Some(Function::named(name).ok_or_else(|| format!("a rule cannot name {name}"))?)
        }
    };
    let mut rule = Rule {
        function,
        only: Only::All,
        delay: Duration::ZERO,
        action: Action::Pass,
        skip: 0,
        every: 1,
        count: u64::MAX,
    };
    let mut after_call = false;
    for word in words {
        let (name, value) = word
            .split_once('=')
            .map_or((word, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("delay_ms", Some(value)) => rule.delay = Duration::from_millis(positive(value)?),
            ("skip", Some(value)) => rule.skip = positive(value)?,
            ("every", Some(value)) => rule.every = positive(value)?,
            ("count", Some(value)) => rule.count = positive(value)?,
            ("after_call", None) => after_call = true,
            ("mechanism", Some(name)) => rule.only = Only::Mechanism(change::mechanism(name)?),
            ("read_only", None) => rule.only = Only::Reading,
            _ => add(&mut rule.action, action(name, value)?)?,
        }
    }
    match &mut rule.action {
        Action::Answer { after_call: at, .. } => *at = after_call,
        _ if after_call => return Err("after_call needs rv=".into()),
        _ if !rule.only.suits(function) => {
            return Err("this condition does not apply to this function".into());
        }
        Action::Pass if rule.delay.is_zero() => return Err("the rule does nothing".into()),
        Action::Change(change) if !change.suits(function) => {
            return Err("this action does not apply to this function".into());
        }
        Action::Pass
        | Action::Hang
        | Action::Segv
        | Action::Abort
        | Action::Exit(_)
        | Action::Change(_) => {}
    }
    Ok(rule)
}

fn action(name: &str, value: Option<&str>) -> Result<Action, String> {
    let token = |change| Action::Change(Change::Token(change));
    Ok(match (name, value) {
        ("rv", Some(value)) => Action::Answer {
            code: code::parse(value).ok_or_else(|| format!("there is no code {value}"))?,
            after_call: false,
        },
        ("hang", None) => Action::Hang,
        ("segv", None) => Action::Segv,
        ("abort", None) => Action::Abort,
        ("exit", None) => Action::Exit(1),
        ("exit", Some(value)) => Action::Exit(
            value
                .parse()
                .map_err(|_| format!("{value} is not an exit code"))?,
        ),
        ("corrupt", None) => Action::Change(Change::Corrupt),
        ("wrong_key", Some(label)) => Action::Change(Change::WrongKey(label.into())),
        ("nothing", None) => Action::Change(Change::Nothing),
        ("public", None) => Action::Change(Change::Public),
        ("flags", Some(value)) => token(TokenChange {
            set: positive(value)?,
            ..TokenChange::default()
        }),
        ("clear", Some(value)) => token(TokenChange {
            clear: positive(value)?,
            ..TokenChange::default()
        }),
        ("label", Some(value)) => token(TokenChange {
            label: Some(change::text(value, 32)?),
            ..TokenChange::default()
        }),
        ("serial", Some(value)) => token(TokenChange {
            serial: Some(change::text(value, 16)?),
            ..TokenChange::default()
        }),
        ("model", Some(value)) => token(TokenChange {
            model: Some(change::text(value, 16)?),
            ..TokenChange::default()
        }),
        ("clock", Some(value)) => token(TokenChange {
            clock: Some(change::text(value, 16)?),
            ..TokenChange::default()
        }),
        ("description", Some(value)) => {
            Action::Change(Change::SlotDescription(change::text(value, 64)?))
        }
        ("hide" | "hide_private", Some(value)) => Action::Change(Change::Hidden {
            attributes: change::attributes(value)?,
            of_private_keys: name == "hide_private",
        }),
        ("length", Some(value)) => Action::Change(Change::Length(octets(value)?)),
        ("too_small", Some(value)) => Action::Change(Change::TooSmall(octets(value)?)),
        ("max_sessions", Some(value)) => token(TokenChange {
            sessions: Some(positive(value)?),
            ..TokenChange::default()
        }),
        _ => return Err(format!("{name} is neither an action nor a condition")),
    })
}

/// Adds an action to a rule. A rule has one action, except that changes of token information may be combined.
fn add(action: &mut Action, more: Action) -> Result<(), String> {
    match (&mut *action, more) {
        (Action::Pass, more) => *action = more,
        (Action::Change(Change::Token(change)), Action::Change(Change::Token(more))) => {
            change.join(more);
        }
        _ => return Err("a rule may have only one action".into()),
    }
    Ok(())
}

/// Parses a decimal number, or a hexadecimal one after `0x`.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.strip_prefix("0x").map_or_else(
        || text.parse().ok(),
        |digits| u64::from_str_radix(digits, 16).ok(),
    )
}

fn octets(text: &str) -> Result<CK_ULONG, String> {
    number(text).ok_or_else(|| format!("{text} is not a number"))
}

fn positive(text: &str) -> Result<u64, String> {
    number(text)
        .filter(|number| *number != 0)
        .ok_or_else(|| format!("{text} is not a number above zero"))
}

#[cfg(test)]
mod tests;
