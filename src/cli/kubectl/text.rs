//! What the commands print for people. Texts of others are escaped.

use super::{
    read::Gap,
    refused::RefusedRecord,
    reissue::{ReissueRecord, RenewalOutcome},
    requests::RequestsRecord,
    revoke::{ReleaseRecord, RevokeRecord},
    rollover::RolloverRecord,
    status::IssuerRecord,
    step::{Explained, StepState},
};
use crate::{
    cli::output::{BAD, columns, fields, headed, place, styled},
    message::shown,
};

/// Returns the steps of a request.
pub(super) fn explained(record: &Explained) -> String {
    let rows: Vec<_> = record
        .steps
        .iter()
        .map(|step| {
            [
                step.step.as_str().to_owned(),
                step.state.as_str().to_owned(),
                shown(&step.says),
            ]
        })
        .collect();
    let held = format!(" {} ", StepState::Holds.as_str());
    let mut text = format!("{}\n\n{}", shown(&record.about), columns(&rows));
    text = marked(&text, |line| line.contains(&held));
    if !record.advice.is_empty() {
        text += &format!("\nTo do: {}\n", shown(&record.advice));
    }
    text += &next(&record.next);
    text + &unknown(&record.unknown)
}

/// Returns why a request was refused.
pub(super) fn refused(record: &RefusedRecord) -> String {
    let mut lines = vec![("request", record.request.clone())];
    lines.push(match record.reason {
        Some(reason) => ("refused", reason.to_owned()),
        None => ("refused", "no".to_owned()),
    });
    lines.push(("because", record.message.clone()));
    if let Some(page) = &record.page {
        lines.extend([
            ("meaning", page.meaning.clone()),
            ("for example", page.example.clone()),
            ("to do", page.what_to_do.clone()),
            ("page", page.page.clone()),
        ]);
    }
    fields(lines) + &unknown(&record.unknown)
}

/// Returns the requests of an issuer.
pub(super) fn requests(record: &RequestsRecord) -> String {
    let RequestsRecord {
        issuer,
        waiting,
        failed,
        issued,
        requests,
        more,
        unknown: gaps,
    } = record;
    let mut text = format!("{issuer}: {waiting} waiting, {failed} failed, {issued} issued\n");
    if !requests.is_empty() {
        let head = ["REQUEST", "AGE", "STATE", "HELD BY", "WHY"];
        let mut rows = Vec::new();
        for row in requests {
            let name = match (&row.namespace, row.kind) {
                (Some(namespace), _) => format!("{namespace}/{}", row.name),
                (None, _) => format!("csr/{}", row.name),
            };
            let held = row.held_by.map_or("-", |step| step.as_str());
            rows.push([
                shown(name),
                row.age.clone(),
                row.state.as_str().to_owned(),
                held.to_owned(),
                shown(&row.why),
            ]);
        }
        text = format!("{text}\n{}", headed(head, rows));
    }
    if *more > 0 {
        text += &format!("and {more} more; give --limit\n");
    }
    text + &unknown(gaps)
}

/// Returns everything about an issuer.
pub(super) fn status(record: &IssuerRecord) -> String {
    let mut lines = vec![
        ("issuer", record.issuer.clone()),
        (
            "ready",
            match (record.ready, record.observed) {
                (true, _) => "yes".to_owned(),
                (false, true) => "NO".to_owned(),
                (false, false) => {
                    "NOT YET: no controller has looked at the present specification".to_owned()
                }
            },
        ),
        ("token", token(record)),
    ];
    lines.extend(record.key.as_ref().map(|key| {
        let kept = match (key.sensitive, key.extractable) {
            (Some(true), Some(false)) => "cannot leave the token",
            (Some(false), _) | (_, Some(true)) => "CAN LEAVE THE TOKEN",
            (_, _) => "the token does not say whether it can leave",
        };
        let name = format!("{:?}, id {}", key.label, key.id_hex);
        ("key", format!("{} {name}; {kept}", key.algorithm))
    }));
    lines.extend(record.certificate.as_ref().map(|one| {
        let text = format!(
            "{}, serial {}, CA {}",
            one.subject, one.serial_number, one.ca
        );
        ("certificate", text)
    }));
    lines.extend(
        record
            .last_signature
            .map(|at| ("last proof", at.to_string())),
    );
    lines.extend(replicas(record));
    let rates = &record.rates;
    lines.push((
        "requests",
        format!(
            "{} issued and {} failed in the last hour, {} waiting",
            rates.issued_in_last_hour, rates.failed_in_last_hour, rates.waiting
        ),
    ));
    let limits = rates.limits.clone();
    lines.push(("limits", limits.unwrap_or_else(|| "none".into())));
    lines.extend(record.crl.as_ref().map(|crl| {
        let text = format!(
            "made at {}, {} certificates revoked",
            crl.this_update.0, crl.entries
        );
        ("CRL", text)
    }));
    lines.extend(
        record
            .rollover
            .map(|state| ("rollover", format!("{state:?}"))),
    );
    let words = ["NOT YET", " NONE", " NO", "CAN LEAVE THE TOKEN"];
    let mut text = styled(&fields(lines), |line| Some((place(line, &words)?, BAD)));
    text += "\n";
    let ends = record.ends.iter();
    let ends: Vec<_> = ends
        .map(|end| {
            let over = if end.over { "OVER" } else { "" };
            [end.at.to_string(), shown(&end.what), over.to_owned()]
        })
        .collect();
    text += &marked(&columns(&ends), |line| line.ends_with("OVER"));
    for condition in &record.conditions {
        let (type_, status) = (&condition.type_, &condition.status);
        text += &format!(
            "\n{type_} is {status}: {}: {}\n",
            shown(&condition.reason),
            shown(&condition.message)
        );
        if let Some(page) = condition.page.as_ref().filter(|page| page.who != "nobody") {
            text += &format!("  {}: {}\n", page.who, page.what_to_do);
        }
    }
    text + &unknown(&record.unknown)
}

/// Returns the steps of a rollover.
pub(super) fn rollover(record: &RolloverRecord) -> String {
    let mut text = match (&record.reason, record.in_progress) {
        (Some(reason), _) => format!("{}: {reason}\n", record.issuer),
        (None, true) => format!("{}: the rollover has not been looked at\n", record.issuer),
        (None, false) => format!("{}: no rollover\n", record.issuer),
    };
    text += &format!(
        "signs now: {}\n",
        shown(record.signs.as_deref().unwrap_or("nothing"))
    );
    if let Some(next) = record
        .rollover
        .as_ref()
        .and_then(|one| one.certificate.as_ref())
    {
        text += &format!("the next one: {}\n", shown(&next.subject));
    }
    if !record.steps.is_empty() {
        let rows = record.steps.iter();
        let rows: Vec<_> = rows
            .map(|step| {
                let done = if step.done { "done" } else { "-" };
                [step.step.to_owned(), done.to_owned(), step.says.clone()]
            })
            .collect();
        text += &format!("\n{}", columns(&rows));
    }
    if let Some(message) = &record.message {
        text += &format!("\n{}\n", shown(message));
    }
    if let Some(page) = record.page.as_ref().filter(|page| page.who != "nobody") {
        text += &format!("To do: {}: {}\n", page.who, page.what_to_do);
    }
    for former in &record.retiring {
        text += &format!(
            "retiring until {}: {}\n",
            former.until.0,
            shown(&former.subject)
        );
    }
    if let Some(reissue) = &record.reissue {
        let line = format!(
            "re-issue: {:?}; {} of {} left, {} in progress, {} stuck {}",
            reissue.state,
            reissue.left,
            reissue.total,
            reissue.in_progress,
            reissue.stuck,
            shown(&reissue.message)
        );
        text = text + line.trim_end() + "\n";
    }
    text
}

/// Returns what was created, or would be.
pub(super) fn revoked(record: &RevokeRecord) -> String {
    let metadata = &record.object.metadata;
    let place = metadata.namespace.as_deref().unwrap_or_default();
    if record.dry_run {
        let spec = serde_saphyr::to_string(&record.object.spec.0).unwrap_or_default();
        return format!(
            "would revoke {}\nin namespace {place}, by\n{}\n",
            shown(&record.revokes),
            spec.trim_end()
        );
    }
    let name = metadata.name.as_deref().unwrap_or_default();
    format!(
        "asked to revoke {}\n\nNext:\n  kubectl get certificaterevocation -n {place} {name}\n",
        shown(&record.revokes)
    )
}

/// Returns what was released, or would be.
pub(super) fn released(record: &ReleaseRecord) -> String {
    let releases = shown(&record.releases);
    if record.dry_run {
        return format!("would make valid again {releases}\n");
    }
    let metadata = &record.object.metadata;
    let place = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    format!(
        "asked to make valid again {releases}\n\nNext:\n  kubectl get certificaterevocation -n {place} {name}\n"
    )
}

/// Returns what becomes of the Certificates of an issuer.
pub(super) fn reissued(record: &ReissueRecord) -> String {
    let renewed = match record.dry_run {
        true => "would be renewed",
        false => "is renewed",
    };
    let rows = record.certificates.iter();
    let rows: Vec<_> = rows
        .map(|row| {
            let outcome = match row.outcome {
                RenewalOutcome::Renewed => renewed.to_owned(),
                RenewalOutcome::InProgress => "is being issued".to_owned(),
                RenewalOutcome::NotWritten => shown(&row.error),
            };
            [format!("{}/{}", row.namespace, row.name), outcome]
        })
        .collect();
    match rows.as_slice() {
        [] => format!("no Certificate of {}\n", record.issuer),
        rows => columns(rows),
    }
}

fn token(record: &IssuerRecord) -> String {
    let found = record.token_found.as_ref();
    found.map_or_else(
        || record.token.clone(),
        |found| {
            format!(
                "{}: {:?}, serial {}, {} {}, firmware {}",
                record.token,
                found.label,
                found.serial,
                found.manufacturer,
                found.model,
                found.firmware_version
            )
        },
    )
}

fn replicas(record: &IssuerRecord) -> Option<(&'static str, String)> {
    let all = record.replicas.as_ref()?;
    let live = all.iter().filter(|one| one.live).count();
    let sign: Vec<_> = all.iter().filter(|one| one.live && one.signs).collect();
    let names: Vec<_> = sign.iter().map(|one| one.name.as_str()).collect();
    let count = match sign.len() {
        0 => "NONE".to_owned(),
        some => some.to_string(),
    };
    let place = record.installation.as_deref().unwrap_or_default();
    Some((
        "replicas",
        format!(
            "{count} of {live} live in {place} can sign: {}",
            names.join(", ")
        )
        .trim_end_matches([':', ' '])
        .to_owned(),
    ))
}

fn next(commands: &[String]) -> String {
    match commands {
        [] => String::new(),
        some => {
            let lines: Vec<_> = some
                .iter()
                .map(|one| format!("  {}\n", shown(one)))
                .collect();
            format!("\nNext:\n{}", lines.concat())
        }
    }
}

fn unknown(gaps: &[Gap]) -> String {
    let lines = gaps.iter().map(|gap| format!("unknown: {}\n", shown(gap)));
    let lines: String = lines.collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{lines}"),
    }
}

/// Returns the text with the style of what needs attention on some lines.
fn marked(text: &str, needs: impl Fn(&str) -> bool) -> String {
    styled(text, |line| needs(line).then_some((0..line.len(), BAD)))
}
