//! What commands about tokens print for people. Texts of tokens are escaped.

use super::record::{Described, MechanismRecord, PinHints, TokenRecord};
use crate::{
    cli::output::{fields, headed},
    message::shown,
};

/// Returns a line for each token.
pub(super) fn list(tokens: &[TokenRecord]) -> String {
    let rows = tokens.iter();
    let rows = rows.map(|record| match &record.token {
        Some(token) => [
            token.uri.clone(),
            shown(format_args!("{} {}", token.manufacturer, token.model)),
            state(token).to_owned(),
            shown(&record.library),
        ],
        None => [
            format!("slot {}", record.slot_id),
            shown(&record.slot_description),
            shown(record.error.as_deref().unwrap_or_default()),
            shown(&record.library),
        ],
    });
    headed(["TOKEN", "DEVICE", "PIN", "LIBRARY"], rows.collect())
}

/// Returns everything about one token, a line for each thing.
pub(super) fn show(record: &TokenRecord) -> String {
    let mut lines = Vec::new();
    if let Some(token) = &record.token {
        lines.extend([
            ("URI", token.uri.clone()),
            ("label", token.label.clone()),
            ("serial number", token.serial.clone()),
            ("manufacturer", token.manufacturer.clone()),
            ("model", token.model.clone()),
            ("firmware", token.firmware.clone()),
            ("PIN", state(token).to_owned()),
            ("login", login(token).to_owned()),
            ("sessions", sessions(token.max_sessions)),
        ]);
    }
    lines.extend(record.error.clone().map(|error| ("error", error)));
    lines.extend([
        (
            "slot",
            format!("{} ({})", record.slot_id, record.slot_description),
        ),
        ("library", record.library.clone()),
    ]);
    fields(lines)
}

/// Returns a line for each mechanism.
pub(super) fn mechanisms(all: &[MechanismRecord]) -> String {
    let head = ["MECHANISM", "KEY SIZES", "DOES", "IN HARDWARE", "USED HERE"];
    let yes = |is: bool| if is { "yes" } else { "-" }.to_owned();
    let rows = all.iter().map(|mechanism| {
        let sizes = match (mechanism.smallest_key, mechanism.largest_key) {
            (0, 0) => "-".to_owned(),
            (smallest, largest) => format!("{smallest}-{largest}"),
        };
        let does = match (mechanism.sign, mechanism.generate_key_pair) {
            (true, _) => "signs",
            (false, true) => "makes keys",
            (false, false) => "-",
        };
        [
            shown(&mechanism.name),
            sizes,
            does.to_owned(),
            yes(mechanism.hardware),
            yes(mechanism.used),
        ]
    });
    headed(head, rows.collect())
}

/// Returns what the token's flags say about it and its PIN, the worst first.
const fn state(token: &Described) -> &'static str {
    match &token.pin {
        _ if token.error_state => "token failed a self-test; reset it",
        _ if !token.initialized => "token is not initialized",
        PinHints { locked: true, .. } => "locked; the security officer can reset it",
        PinHints {
            final_try: true, ..
        } => "one more wrong PIN locks it",
        PinHints {
            count_low: true, ..
        } => "a wrong PIN was given since the last login",
        PinHints {
            to_be_changed: true,
            ..
        } => "must be changed before use",
        PinHints { set: false, .. } => "not set",
        PinHints { .. } => "set",
    }
}

const fn login(token: &Described) -> &'static str {
    match (token.login_required, token.pin.pad) {
        (true, true) => "required, or at the PIN pad of the device",
        (true, false) => "required",
        (false, _) => "not required by the token; keys may require it",
    }
}

fn sessions(most: Option<u64>) -> String {
    most.map_or_else(|| "no limit".to_owned(), |most| format!("at most {most}"))
}
