//! The state of a token, for people.

use std::{collections::BTreeMap, num::NonZeroUsize};

use hsm::TokenInfo;
use serde::Serialize;

use super::{ConfiguredToken, turns::TurnsReport};
use crate::message::shown;

/// State of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenReport {
    /// Its name in the configuration.
    name: String,
    /// Its state, as in metrics and logs.
    state: &'static str,
    /// The state with its reason.
    why: String,
    /// The token as it describes itself, once the worker has logged in.
    token: Option<Described>,
    /// How many live replicas share its work.
    replicas: NonZeroUsize,
    turns: TurnsReport,
    /// Workers started or connections to a sidecar made.
    starts: u64,
    /// How often each state was entered.
    entered: BTreeMap<&'static str, u64>,
    /// How often the worker ended, by reason.
    ended: BTreeMap<&'static str, u64>,
    /// Why the last worker ended.
    last_end: Option<String>,
}

/// A token as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    label: String,
    serial: String,
    model: String,
    firmware: String,
    pin_count_low: bool,
    pin_final_try: bool,
    pin_locked: bool,
}

impl ConfiguredToken {
    /// Returns the state of the token. `replicas` share its work.
    #[must_use]
    pub fn report(&self, replicas: NonZeroUsize) -> TokenReport {
        let token = self.token();
        let state = token.state().borrow().clone();
        let tally = token.tally();
        TokenReport {
            name: self.name().to_owned(),
            state: state.name(),
            why: shown(&state),
            token: state.info().map(described),
            replicas,
            turns: self.running.turns.report(),
            starts: tally.starts,
            entered: tally.entered,
            ended: tally.ended,
            last_end: tally.last_end.map(shown),
        }
    }
}

fn described(info: &TokenInfo) -> Described {
    Described {
        label: shown(&info.label),
        serial: shown(&info.serial),
        model: shown(&info.model),
        firmware: shown(&info.firmware),
        pin_count_low: info.pin.count_low,
        pin_final_try: info.pin.final_try,
        pin_locked: info.pin.locked,
    }
}
