//! The language of rules; see the package's README.

use std::{str::FromStr, time::Duration};

use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_FLAGS, CK_RV, CK_ULONG};
use thiserror::Error;

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
    pub(crate) delay: Duration,
    pub(crate) action: Action,
    skip: u64,
    every: u64,
    count: u64,
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

/// Change of a call's arguments or answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `C_Sign`, `C_SignFinal`: the last bit of the signature is flipped.
    Corrupt,
    /// `C_SignInit`: the private key with this label signs instead of the requested one.
    WrongKey(String),
    /// `C_FindObjects`, `C_GetSlotList`: the call succeeds and finds nothing.
    Nothing,
    /// `C_GetTokenInfo`: flags are added, and the session limits are replaced.
    TokenInfo {
        flags: CK_FLAGS,
        sessions: Option<CK_ULONG>,
    },
    /// `C_GetAttributeValue`: the token does not know this attribute.
    Hidden(CK_ATTRIBUTE_TYPE),
    /// `C_Sign`: the signature is made, and this length is returned for it.
    Length(CK_ULONG),
    /// `C_Sign`: the library is not called; `CKR_BUFFER_TOO_SMALL` and this length are returned.
    TooSmall(CK_ULONG),
}

/// Attributes that a rule may hide, by name.
const ATTRIBUTES: &[(&str, CK_ATTRIBUTE_TYPE)] = &[
    (
        "CKA_ALWAYS_AUTHENTICATE",
        cryptoki_sys::CKA_ALWAYS_AUTHENTICATE,
    ),
    ("CKA_ALWAYS_SENSITIVE", cryptoki_sys::CKA_ALWAYS_SENSITIVE),
    ("CKA_EXTRACTABLE", cryptoki_sys::CKA_EXTRACTABLE),
    ("CKA_LOCAL", cryptoki_sys::CKA_LOCAL),
    ("CKA_NEVER_EXTRACTABLE", cryptoki_sys::CKA_NEVER_EXTRACTABLE),
    ("CKA_SENSITIVE", cryptoki_sys::CKA_SENSITIVE),
    ("CKA_SIGN", cryptoki_sys::CKA_SIGN),
];

impl Change {
    fn suits(&self, function: Option<Function>) -> bool {
        use Function as F;
        match self {
            Self::Corrupt => matches!(function, Some(F::C_Sign | F::C_SignFinal)),
            Self::WrongKey(_) => function == Some(F::C_SignInit),
            Self::Nothing => matches!(function, Some(F::C_FindObjects | F::C_GetSlotList)),
            Self::Length(_) | Self::TooSmall(_) => function == Some(F::C_Sign),
            Self::TokenInfo { .. } => function == Some(F::C_GetTokenInfo),
            Self::Hidden(_) => function == Some(F::C_GetAttributeValue),
        }
    }
}

impl Rules {
    /// Returns the rules for this function, each with its place in the list.
    pub(crate) fn about(&self, function: Function) -> impl Iterator<Item = (usize, &Rule)> {
        let about = move |rule: &Rule| rule.function.is_none_or(|named| named == function);
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
            _ => add(&mut rule.action, action(name, value)?)?,
        }
    }
    match &mut rule.action {
        Action::Answer { after_call: at, .. } => *at = after_call,
        _ if after_call => return Err("after_call needs rv=".into()),
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
    let token_info = |flags, sessions| Action::Change(Change::TokenInfo { flags, sessions });
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
        ("flags", Some(value)) => token_info(positive(value)?, None),
        ("hide", Some(value)) => {
            let hidden = ATTRIBUTES.iter().find(|(name, _)| *name == value);
            let (_, hidden) = hidden.ok_or_else(|| format!("a rule cannot hide {value}"))?;
            Action::Change(Change::Hidden(*hidden))
        }
        ("length", Some(value)) => Action::Change(Change::Length(octets(value)?)),
        ("too_small", Some(value)) => Action::Change(Change::TooSmall(octets(value)?)),
        ("max_sessions", Some(value)) => token_info(0, Some(positive(value)?)),
        _ => return Err(format!("{name} is neither an action nor a condition")),
    })
}

/// Adds an action to a rule. A rule has one action, except that both changes of token information may be combined.
fn add(action: &mut Action, more: Action) -> Result<(), String> {
    use Change::TokenInfo;
    match (&mut *action, more) {
        (Action::Pass, more) => *action = more,
        (
            Action::Change(TokenInfo { flags, sessions }),
            Action::Change(TokenInfo {
                flags: more_flags,
                sessions: more_sessions,
            }),
        ) => {
            *flags |= more_flags;
            *sessions = sessions.or(more_sessions);
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
mod tests {
    use std::time::Duration;

    use super::{Action, Change, Rules, RulesError};
    use crate::Function;

    fn firing(line: &str) -> Vec<u64> {
        let rules: Rules = line.parse().unwrap();
        let (_, rule) = rules.about(Function::C_Sign).next().unwrap();
        (0..12).filter(|nth| rule.fires(*nth)).collect()
    }

    fn action(line: &str) -> Action {
        line.parse::<Rules>().unwrap().0[0].action.clone()
    }

    fn refused(text: &str) -> RulesError {
        text.parse::<Rules>().unwrap_err()
    }

    #[test]
    fn conditions_select_the_calls_on_which_a_rule_fires() {
        assert_eq!(
            firing("C_Sign hang"),
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
        );
        assert_eq!(firing("C_Sign hang count=2"), [0, 1]);
        assert_eq!(firing("C_Sign hang every=4"), [3, 7, 11]);
        assert_eq!(firing("C_Sign hang every=3 count=2"), [2, 5]);
        assert_eq!(firing("C_Sign hang skip=5 every=3 count=2"), [7, 10]);
    }

    #[test]
    fn a_code_is_given_by_name_or_number() {
        for (text, code) in [
            ("CKR_DEVICE_ERROR", 0x30),
            ("0x80000384", 0x8000_0384),
            ("5", 5),
        ] {
            let after_call = false;
            assert_eq!(
                action(&format!("C_Sign rv={text}")),
                Action::Answer { code, after_call }
            );
        }
        let after_call = true;
        assert_eq!(
            action("C_Sign after_call rv=5"),
            Action::Answer {
                code: 5,
                after_call
            }
        );
    }

    #[test]
    fn one_rule_may_change_both_flags_and_session_limit() {
        let expected = Change::TokenInfo {
            flags: 0x60000,
            sessions: Some(2),
        };
        assert_eq!(
            action("C_GetTokenInfo flags=0x40000 max_sessions=2 flags=0x20000"),
            Action::Change(expected)
        );
    }

    #[test]
    fn a_delay_can_precede_an_action() {
        let rules: Rules = "C_Sign delay_ms=200 abort".parse().unwrap();
        assert_eq!(rules.0[0].delay, Duration::from_millis(200));
        assert_eq!(rules.0[0].action, Action::Abort);
    }

    #[test]
    fn a_star_means_every_function_and_comments_are_ignored() {
        let rules: Rules = "# the network is gone\n\n* rv=CKR_DEVICE_ERROR # for ever\nC_Sign hang"
            .parse()
            .unwrap();
        assert_eq!(rules.about(Function::C_Login).count(), 1);
        let places: Vec<_> = rules
            .about(Function::C_Sign)
            .map(|(place, _)| place)
            .collect();
        assert_eq!(places, [0, 1]);
    }

    #[test]
    fn a_line_that_is_not_a_rule_is_refused_with_its_number() {
        assert_eq!(refused("C_Sign hang\nC_Sing hang").line, 2);
        for wrong in [
            "C_Sign",
            "C_Sign hung",
            "C_Sign hang=1",
            "C_Sign rv=CKR_NOTHING",
            "C_Sign rv",
            "C_Sign hang abort",
            "C_Sign every=0 hang",
            "C_Sign after_call",
            "C_Sign hang after_call",
            "C_Login corrupt",
            "* corrupt",
            "C_SignFinal length=1",
            "C_Sign too_small",
            "C_Sign wrong_key=ca",
            "C_Sign_length corrupt",
            "C_Encrypt hang",
            "C_Sign hide=CKA_SENSITIVE",
            "C_GetAttributeValue hide=CKA_NOTHING",
        ] {
            refused(wrong);
        }
    }
}
