//! Which lines a log takes when there is no room for them, and after its end.

use super::*;

/// Appends lines that may be dropped until there is no more room.
fn fill(log: &IssuanceLog) {
    while log.0.backlog.has_room() {
        log.login("issuing", None);
    }
}

fn events(paper: &Paper) -> Vec<String> {
    let lines = paper.lines();
    let events = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone());
    events
        .map(|event| event.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_revocation_that_found_no_room_is_not_logged_unless_the_operator_allows_that() {
    for (on_failure, is_well) in [(OnFailure::Wait, false), (OnFailure::Sign, true)] {
        let paper = Paper::default();
        paper.block(true);
        let log = impatient(&[&paper], on_failure);
        fill(&log);
        for line in [
            log.revoked(&revocation(), "keyCompromise"),
            log.released(&revocation()),
            log.revocation_refused(&revocation(), "NotOurs"),
        ] {
            assert_eq!(line, LogPosition(None));
            let accepted = log.accepted(line).now_or_never().unwrap();
            assert_eq!(accepted.is_ok(), is_well, "{on_failure:?}");
        }
        paper.block(false);
    }
}

#[tokio::test]
async fn a_refusal_that_began_while_there_was_room_is_logged() {
    let paper = Paper::default();
    paper.block(true);
    let log = impatient(&[&paper], OnFailure::Wait);
    log.started();
    assert!(log.has_room());
    fill(&log);
    log.refused(&subject(&[]), None, "denied");
    paper.block(false);
    log.stopped();
    log.close(Duration::from_secs(60)).await.unwrap();
    let events = events(&paper);
    assert_eq!(events.iter().filter(|event| *event == "refused").count(), 1);
}

#[tokio::test]
async fn no_leaf_follows_stopped_and_nothing_is_signed_after_it() {
    let paper = Paper::default();
    let log = log_on(&paper);
    log.started();
    log.stopping();
    log.login("issuing", None);
    log.heads(&[head()]);
    log.discarded(&entry(&[], &[]), "abandoned");
    log.stopping();
    let signing = log.signing(&entry(&[], &[]), &[]).unwrap();
    assert!(log.accepted(signing).await.is_err());
    log.checkpoint();
    log.close(Duration::from_secs(60)).await.unwrap();
    assert_eq!(events(&paper), ["started", "stopped", "checkpoint"]);
}

#[tokio::test]
async fn a_run_that_does_not_know_the_fate_of_a_certificate_ends_without_stopped() {
    let paper = Paper::default();
    let log = log_on(&paper);
    log.started();
    log.leave_unfinished();
    log.stopping();
    log.login("issuing", None);
    log.checkpoint();
    log.close(Duration::from_secs(60)).await.unwrap();
    assert_eq!(events(&paper), ["started", "checkpoint"]);
}

#[tokio::test]
async fn lines_that_were_dropped_are_told_of_before_stopped_even_without_room() {
    let paper = Paper::default();
    paper.block(true);
    let log = impatient(&[&paper], OnFailure::Wait);
    fill(&log);
    log.login("issuing", None);
    log.stopped();
    paper.block(false);
    log.close(Duration::from_secs(60)).await.unwrap();
    let events = events(&paper);
    let (_, last) = events.split_at(events.len() - 3);
    assert_eq!(last, ["dropped-lines", "stopped", "checkpoint"]);
}

#[test]
fn a_log_that_ends_without_a_line_stays_empty() {
    let paper = Paper::default();
    let log = log_on(&paper);
    log.stopped();
    log.login("issuing", None);
    closed(&log);
    assert_eq!(paper.text(), "");
}
