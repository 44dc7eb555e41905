//! Tests what the status says during a whole rollover, with real certificates.

use jiff::SignedDuration;
use serde_json::json;

use super::{super::rollover::lifetimes, *};
use crate::{
    api::issuer::IssuerSpec, issuance::testing::chain_valid, reconcile::issuer::notices::notices,
};

const NOW: &str = "2026-06-01T00:00:00Z";
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// The longest duration that the issuer grants, in hours.
const LONGEST: i32 = 24;

/// An issuer whose specification changes while time passes.
struct Story {
    chains: [Arc<IssuerChain>; 3],
    spec: IssuerSpec,
    status: IssuerStatus,
    now: Timestamp,
}

impl Story {
    fn new() -> Self {
        let always = (
            Timestamp::UNIX_EPOCH,
            "2100-01-01T00:00:00Z".parse().unwrap(),
        );
        Self {
            chains: std::array::from_fn(|_| Arc::new(chain_valid(always, always))),
            spec: serde_json::from_value(json!({"token": "t", "certificate": {"pem": "-"}}))
                .unwrap(),
            status: IssuerStatus::default(),
            now: NOW.parse().unwrap(),
        }
    }

    fn root(&self, ca: usize) -> String {
        published(&self.chains[ca], CaField::Root).concat()
    }

    /// Looks at an issuer with these CAs, and keeps what the status says then. `unpublished` tells why the next root is not
    /// published. Returns the reason of the condition, and which certificates are in `ca` beside those of the CA that signs.
    fn look(
        &mut self,
        present: Option<usize>,
        next: Option<Option<usize>>,
        switch: &str,
        unpublished: Option<&str>,
    ) -> (Option<Reason>, String, SigningSide) {
        let chain = |ca: usize| Arc::clone(&self.chains[ca]);
        let found = FoundRollover {
            present: present.map(chain),
            next: next.flatten().map(chain),
            // The unit test has no token: the key that signs stands for the next key, too.
            proven: None,
            former: None,
            unpublished: unpublished.map(str::to_owned),
            has_next: next.is_some(),
        };
        let switch: Option<serde_json::Value> = serde_json::from_str(switch).unwrap();
        let next = next.map(|_| json!({"certificate": {"pem": "-"}, "switch": switch}));
        self.spec.next = serde_json::from_value(json!(next)).unwrap();
        let seen = Seen {
            spec: &self.spec,
            generation: Some(1),
            status: Some(&self.status),
            installation: "ours",
            reissue: None,
        };
        let side = found.signing(seen.status);
        let beside = found.beside(seen, self.now).concat();
        let signing = match side {
            SigningSide::Present | SigningSide::Undone => &found.present,
            SigningSide::Next => &found.next,
        };
        let longest = HOUR * LONGEST;
        let known = self.status.lifetimes.as_ref();
        let granted = signing
            .as_deref()
            .map(|chain| lifetimes(known, &ca_of(chain), longest, self.now));
        let life = found.life(seen, signing.is_some(), granted, self.now);
        let certificate = signing.as_deref().map(certificate_status);
        self.status.certificate = certificate.or_else(|| self.status.certificate.clone());
        self.status.rollover = life.rollover;
        self.status.retiring = life.retiring;
        self.status.lifetimes = life.lifetimes;
        // What is stored is JSON with times in whole seconds.
        let stored = serde_json::to_value(&self.status).unwrap();
        self.status = serde_json::from_value(stored).unwrap();
        (life.condition.map(|(_, reason, _)| reason), beside, side)
    }

    fn state(&self) -> Option<RolloverState> {
        self.status.rollover.as_ref().map(|rollover| rollover.state)
    }

    fn retiring(&self) -> Vec<&str> {
        self.status
            .retiring
            .iter()
            .map(|former| &*former.pem)
            .collect()
    }
}

#[test]
fn both_roots_are_published_from_before_the_switch_until_the_last_certificate_has_ended() {
    use SigningSide::{Next, Present};
    let mut story = Story::new();
    let [old, new] = [story.root(0), story.root(1)];
    let none = String::new();
    let soon = r#"{"at": "2026-06-01T02:00:00Z"}"#;

    assert_eq!(
        story.look(Some(0), None, "null", None),
        (None, none.clone(), Present)
    );
    assert_eq!(story.state(), None);
    // The root cannot be published yet.
    let told = story.look(Some(0), Some(Some(1)), soon, Some("no right"));
    assert_eq!(told, (Some(Reason::NextNotProved), none.clone(), Present));
    let told = story.look(Some(0), Some(Some(1)), soon, None);
    assert_eq!(told, (Some(Reason::NextTrusted), none.clone(), Present));
    assert_eq!(story.state(), Some(RolloverState::Trusted));
    let rollover = story.status.rollover.clone().unwrap();
    assert_eq!(rollover.trusted_since, Some(Time(story.now)));
    assert_eq!(
        rollover.all_trust_from,
        Some(Time(story.now + HOUR * LONGEST))
    );
    // From the next look on, every request gets the next root, too.
    story.now += HOUR;
    let told = story.look(Some(0), Some(Some(1)), soon, None);
    assert_eq!(told, (Some(Reason::NextTrusted), new.clone(), Present));
    assert_eq!(story.status.rollover, Some(rollover));
    story.now += HOUR;
    let told = story.look(Some(0), Some(Some(1)), soon, None);
    assert_eq!(
        told,
        (Some(Reason::SwitchedToNext), new, Present),
        "the look that switches"
    );
    assert_eq!(story.state(), Some(RolloverState::Switched));
    let end = story
        .status
        .rollover
        .clone()
        .unwrap()
        .complete_at
        .unwrap()
        .0;
    assert_eq!(
        end,
        story.now + HOUR * LONGEST + SignedDuration::from_mins(5)
    );
    // The next key signs, and the former root stays, whatever becomes of its Secret.
    for present in [Some(0), None] {
        let told = story.look(present, Some(Some(1)), soon, None);
        assert_eq!(told, (Some(Reason::SwitchedToNext), old.clone(), Next));
        assert_eq!(story.retiring(), [&old]);
    }
    // Moved before the end: nothing changes.
    story.now = end - SignedDuration::from_secs(1);
    let before = story.status.clone();
    let told = story.look(Some(1), None, "null", None);
    assert_eq!(told, (None, old.clone(), Present));
    assert_eq!(story.state(), None);
    assert_eq!(story.retiring(), [&old]);
    let told = notices(Some(&before), &story.status);
    let told: Vec<_> = told.iter().map(|notice| notice.reason().as_str()).collect();
    assert_eq!(told, ["RolloverFinished"]);
    story.now = end;
    assert_eq!(
        story.look(Some(1), None, "null", None),
        (None, none, Present)
    );
    assert_eq!(story.retiring(), [""; 0]);
}

#[test]
fn at_the_end_only_the_next_root_is_published_and_the_rollover_is_complete() {
    let mut story = Story::new();
    let now = r#"{"now": true}"#;
    let next = Some(Some(1));
    for reason in [
        Reason::NextTrusted,
        Reason::SwitchedToNext,
        Reason::SwitchedToNext,
    ] {
        assert_eq!(story.look(Some(0), next, now, None).0, Some(reason));
    }
    story.now += HOUR * (LONGEST + 1);
    let told = story.look(Some(0), next, now, None);
    assert_eq!(
        told,
        (
            Some(Reason::RolloverComplete),
            String::new(),
            SigningSide::Next
        )
    );
    // A clock that is set back, and the move, change nothing.
    story.now -= HOUR * 2;
    let told = story.look(Some(0), next, now, None);
    assert_eq!(
        told,
        (
            Some(Reason::RolloverComplete),
            String::new(),
            SigningSide::Next
        )
    );
    assert_eq!(
        story.look(Some(1), None, now, None),
        (None, String::new(), SigningSide::Present)
    );
}

#[test]
fn a_certificate_from_before_a_shorter_profile_keeps_the_former_root_published() {
    let mut story = Story::new();
    let ca = ca_of(&story.chains[0]);
    story.status.lifetimes = Some(lifetimes(None, &ca, HOUR * 1000, story.now));
    story.look(Some(0), None, "null", None);
    for _ in 0..2 {
        story.look(Some(0), Some(Some(1)), r#"{"now": true}"#, None);
    }
    let end = story.status.rollover.unwrap().complete_at.unwrap().0;
    assert_eq!(end, story.now + HOUR * 1000 + SignedDuration::from_mins(5));
}

#[test]
fn a_rollover_is_withdrawn_or_begins_anew_before_the_switch() {
    let mut story = Story::new();
    story.look(Some(0), Some(Some(1)), "null", None);
    let trusted = story.status.clone();
    let told = story.look(Some(0), None, "null", None);
    assert_eq!(told, (None, String::new(), SigningSide::Present));
    assert_eq!((story.state(), story.retiring()), (None, Vec::new()));
    let told = notices(Some(&trusted), &story.status);
    let told: Vec<_> = told.iter().map(|notice| notice.reason().as_str()).collect();
    assert_eq!(told, ["RolloverWithdrawn"]);
    // Another next CA is trusted anew, and not switched to before that.
    story.status = trusted;
    story.now += HOUR;
    let told = story.look(Some(0), Some(Some(2)), r#"{"now": true}"#, None);
    assert_eq!(
        told,
        (
            Some(Reason::NextTrusted),
            String::new(),
            SigningSide::Present
        )
    );
    let rollover = story.status.rollover.clone().unwrap();
    assert_eq!(rollover.trusted_since, Some(Time(story.now)));
    // The next root must not be published while its certificate is gone.
    let told = story.look(Some(0), Some(None), r#"{"now": true}"#, None);
    assert_eq!(
        told,
        (
            Some(Reason::NextNotProved),
            String::new(),
            SigningSide::Present
        )
    );
}

#[test]
fn no_more_former_cas_retire_at_once_than_the_status_has_room_for() {
    let mut story = Story::new();
    let now = r#"{"now": true}"#;
    // To and fro between two CAs keeps one entry; further CAs need room.
    let former = |ca: usize| RetiringStatus {
        ca: ca.to_string(),
        subject: String::new(),
        until: Time(story.now + HOUR),
        pem: String::new(),
    };
    story.status.retiring = (0..MAX_RETIRING).map(former).collect();
    let told = story.look(Some(0), Some(Some(1)), now, None);
    assert_eq!(told.0, Some(Reason::NextNotProved));
    story.status.retiring.pop();
    for reason in [Reason::NextTrusted, Reason::SwitchedToNext] {
        assert_eq!(
            story.look(Some(0), Some(Some(1)), now, None).0,
            Some(reason)
        );
    }
    assert_eq!(story.status.retiring.len(), MAX_RETIRING);
}

#[test]
fn the_way_back_after_the_switch_is_another_rollover() {
    let mut story = Story::new();
    let [old, new] = [story.root(0), story.root(1)];
    let now = r#"{"now": true}"#;
    for _ in 0..3 {
        story.look(Some(0), Some(Some(1)), now, None);
    }
    assert_eq!(story.look(Some(0), None, now, None).2, SigningSide::Undone);
    assert_eq!(
        story.state(),
        Some(RolloverState::Switched),
        "nothing is lost"
    );
    // The new CA moves into its place, and the former one is the next.
    let told = story.look(Some(1), Some(Some(0)), now, None);
    assert_eq!(
        told,
        (Some(Reason::NextTrusted), old.clone(), SigningSide::Present)
    );
    story.look(Some(1), Some(Some(0)), now, None);
    assert_eq!(story.state(), Some(RolloverState::Switched));
    let told = story.look(Some(1), Some(Some(0)), now, None);
    assert_eq!(told.2, SigningSide::Next);
    assert_eq!(
        story.retiring(),
        [&new],
        "the CA that signs does not retire"
    );
}

#[test]
fn a_renewed_or_replaced_certificate_is_told_of() {
    let mut story = Story::new();
    story.look(Some(0), None, "null", None);
    let first = story.status.clone();
    let told = |before: &IssuerStatus, now: &IssuerStatus| {
        let told = notices(Some(before), now);
        told.iter()
            .map(|notice| notice.reason().as_str())
            .collect::<Vec<_>>()
    };
    let mut renewed = first.clone();
    renewed.certificate.as_mut().unwrap().sha256 = "other".to_owned();
    assert_eq!(told(&first, &renewed), ["CertificateRenewed"]);
    assert_eq!(told(&first, &first), [""; 0]);
    story.look(Some(1), None, "null", None);
    assert_eq!(told(&first, &story.status), ["KeyReplaced"]);
    // The status of an earlier version has no CA.
    let mut earlier = first.clone();
    earlier.certificate.as_mut().unwrap().ca = String::new();
    assert_eq!(told(&earlier, &story.status), [""; 0]);
}
