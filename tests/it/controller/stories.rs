//! The story of one request, as `audit` reads it from the issuance log, as its spans tell it, and as `grep UID` finds it in the
//! log for people.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use jiff::Timestamp;
use rig::{Controller, PATIENCE};
use serde_json::Value;

use super::{
    programs,
    seen::{Seen, attributes, began, ended},
};

/// The events of a request in the issuance log, with the numbers of their lines.
type Steps = Vec<(String, u64)>;

/// What every source tells of a request.
#[derive(Debug, PartialEq, Eq)]
struct Story {
    request: String,
    uid: String,
    /// A denied request is answered without a look at its issuer.
    issuer: Option<String>,
    serial: Option<String>,
    token: Option<String>,
    outcome: String,
    /// Why the request was refused.
    slug: Option<String>,
}

/// Reads the issuance log of a controller with a command of `audit`.
fn audit(controller: &Controller, args: &[&str]) -> Result<String> {
    let run = Command::new(programs()?.controller)
        .arg("audit")
        .args(args)
        .arg(controller.issuance_log_path())
        .output()
        .context("run audit")?;
    ensure!(run.status.success(), "{run:?}");
    Ok(String::from_utf8(run.stdout)?)
}

/// Returns the rest of the first line that begins with a word.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text.lines().filter_map(|line| line.strip_prefix(name));
    rest.find_map(|rest| rest.starts_with(' ').then(|| rest.trim_start()))
}

/// Reads the output of `audit certificate`. Returns the story, and the events with the numbers of their lines.
fn of_certificate(text: &str) -> Result<(Story, Steps)> {
    let request = field(text, "request").context("no request")?;
    let (request, uid) = request.split_once(" (UID ").context("no UID")?;
    let (_, request) = request.split_once(' ').context("no kind")?;
    let key = field(text, "key");
    let token = key.and_then(|key| Some(key.split_once(" on token ")?.1));
    let (mut steps, mut serials, mut slug) = (Vec::new(), Vec::new(), None);
    for line in text.lines().filter(|line| line.contains("  (run ")) {
        let words: Vec<_> = line.split_whitespace().collect();
        let after = |word: &str| {
            let place = words.iter().position(|found| *found == word)?;
            words.get(place + 1).copied()
        };
        serials.push(after("serial").map(str::to_owned));
        slug = after("reason").map(str::to_owned).or(slug);
        let number = after("line").context("no number")?.trim_end_matches(',');
        let event = words.get(1).context("no event")?;
        steps.push(((*event).to_owned(), number.parse()?));
    }
    serials.dedup();
    ensure!(serials.len() == 1, "{serials:?}");
    let outcome = match steps.last() {
        Some((event, _)) if event == "published" => "issued",
        Some((event, _)) => event,
        None => "nothing",
    };
    let story = Story {
        request: request.to_owned(),
        uid: uid.trim_end_matches(')').to_owned(),
        issuer: field(text, "issuer").map(str::to_owned),
        serial: serials.pop().flatten(),
        token: token.map(str::to_owned),
        outcome: outcome.to_owned(),
        slug,
    };
    Ok((story, steps))
}

/// Reads the fields of a span or of a line of the log, which have the same names.
fn of_fields(fields: &Value, outcome: &str) -> Result<Story> {
    let text = |name: &str| fields[name].as_str().map(str::to_owned);
    Ok(Story {
        request: text("request").context("no request")?,
        uid: text("uid").context("no UID")?,
        issuer: text("issuer"),
        serial: text("serial"),
        token: text("token"),
        outcome: text(outcome).context("no outcome")?,
        slug: text("slug"),
    })
}

/// Returns what the spans tell, and what the log tells in the last line about the request.
async fn of_spans_and_log(seen: &Seen, uid: &str) -> Result<[Story; 2]> {
    let spans = seen.spans(uid).await?;
    let root = spans.iter().find(|span| span["name"] == "request");
    let root = attributes(root.context("no root span")?);
    let root = of_fields(&root.into(), "outcome")?;
    // The log is written beside the work, and may have lines about waits before this one.
    let line = until("the line about the outcome", PATIENCE, async || {
        let mut lines = seen.logged(uid)?;
        let last = lines.pop();
        Ok(last.filter(|line| line["message"] == root.outcome.as_str()))
    });
    let line = of_fields(&line.await?, "message")?;
    Ok([root, line])
}

/// Fails unless the three sources tell the same of an issued request, and one order of its stages fits all of them.
pub(super) async fn of_an_issued_request(seen: &Seen, uid: &str) -> Result<()> {
    let [spans, log] = of_spans_and_log(seen, uid).await?;
    let controller = seen.rig.controller();
    let serial = spans.serial.clone().context("no serial number")?;
    // Nobody waits for *published*, so it may come a little later.
    let (issuance, steps) = until("the certificate to be published", PATIENCE, async || {
        let told = of_certificate(&audit(controller, &["certificate", &serial])?)?;
        Ok(Some(told).filter(|(story, _)| story.outcome == "issued"))
    })
    .await?;
    assert_eq!(spans, issuance);
    assert_eq!(log, issuance);
    assert!(issuance.issuer.is_some(), "{issuance:?}");
    let by_uid = told_of(controller, uid)?.context("no line about the request")?;
    assert_eq!(by_uid, (issuance, steps.clone()));

    let lines = controller.issuance_log()?;
    let mut moments = Vec::new();
    for (event, number) in steps {
        let line = lines.iter().find(|line| line["seq"] == number);
        let time = line.and_then(|line| line["time"].as_str());
        let time: Timestamp = time.context("no such line")?.parse()?;
        moments.push((u64::try_from(time.as_nanosecond())?, event));
    }
    for span in seen.spans(uid).await? {
        let name = span["name"].as_str().context("no name")?;
        if name != "request" {
            moments.push((began(&span), format!("{name} begins")));
            moments.push((ended(&span), format!("{name} ends")));
        }
    }
    moments.sort();
    let order: Vec<_> = moments.iter().map(|(_, what)| what.as_str()).collect();
    let expected = [
        "queue begins",
        "queue ends",
        "turn begins",
        "turn ends",
        "signing",
        "token begins",
        "token ends",
        "signed",
        "write begins",
        "write ends",
        "published",
    ];
    assert_eq!(order, expected);
    Ok(())
}

/// Fails unless the three sources tell the same of a refused request.
pub(super) async fn of_a_refused_request(seen: &Seen, uid: &str) -> Result<()> {
    let [spans, log] = of_spans_and_log(seen, uid).await?;
    let (issuance, steps) = until("the refusal in the log", PATIENCE, async || {
        told_of(seen.rig.controller(), uid)
    })
    .await?;
    let events: Vec<_> = steps.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(events, ["refused"]);
    assert!(
        issuance.slug.is_some() && issuance.issuer.is_some(),
        "{issuance:?}"
    );
    // The root span names the issuer's token even if it was never asked.
    let spans = Story {
        token: None,
        ..spans
    };
    assert_eq!(spans, issuance);
    assert_eq!(log, issuance);
    Ok(())
}

/// Fails unless the three sources tell the same of a request whose certificate was discarded.
pub(super) async fn of_a_discarded_request(seen: &Seen, uid: &str) -> Result<()> {
    let [spans, log] = of_spans_and_log(seen, uid).await?;
    let told = told_of(seen.rig.controller(), uid)?;
    let (issuance, steps) = told.context("no line about the request")?;
    let events: Vec<_> = steps.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(events, ["signing", "signed", "discarded"]);
    assert!(issuance.serial.is_some() && issuance.slug.is_some() && issuance.issuer.is_some());
    assert_eq!(spans, issuance);
    assert_eq!(log, issuance);
    Ok(())
}

/// Fails unless spans and log tell the same of a denied request, and the issuance log nothing, because nobody was asked to sign.
pub(super) async fn of_a_denied_request(seen: &Seen, uid: &str) -> Result<()> {
    let [spans, log] = of_spans_and_log(seen, uid).await?;
    assert_eq!(spans.outcome, "denied");
    let of_request = |story| Story {
        issuer: None,
        token: None,
        ..story
    };
    assert_eq!(of_request(log), of_request(spans));
    let told = told_of(seen.rig.controller(), uid)?;
    assert!(told.is_none(), "{told:?}");
    Ok(())
}

/// Returns what `audit certificate` tells of the request with this UID; `None` if no line is about it.
fn told_of(controller: &Controller, uid: &str) -> Result<Option<(Story, Steps)>> {
    match audit(controller, &["certificate", uid]) {
        Ok(told) => of_certificate(&told).map(Some),
        Err(error) if error.to_string().contains("no line is about") => Ok(None),
        Err(error) => Err(error),
    }
}
