//! Writes and reads the Leases of replicas.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};

use super::{LeaseDuration, OwnPod};
use crate::audit::SignedHead;

/// Label that marks the Leases of replicas among those of their namespace.
pub(super) const LABEL: &str = "pkcs11-issuer.dev/lease";
/// The only value of [`LABEL`].
pub(super) const MEMBERSHIP: &str = "membership";
/// Annotation with the tokens that a replica can sign with: their names in the operator's configuration, separated by
/// commas.
pub(super) const TOKENS: &str = "pkcs11-issuer.dev/tokens";
/// Annotation with the newest signed checkpoint of the replica's issuance log: a C2SP signed note.
const CHECKPOINT: &str = "pkcs11-issuer.dev/checkpoint";
/// Annotation with the number of lines under that checkpoint that say more than the checkpoints of other replicas.
const EVENTS: &str = "pkcs11-issuer.dev/checkpoint-events";

/// A replica as its Lease describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Name of the Lease. No two replicas share one.
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) duration: LeaseDuration,
    pub(super) tokens: BTreeSet<String>,
    /// The newest signed checkpoint of its issuance log.
    pub(super) head: Option<SignedHead>,
}

/// What a replica says of itself with each renewal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) tokens: &'a BTreeSet<String>,
    pub(super) head: Option<&'a SignedHead>,
    /// Time of the renewal, for people.
    pub(super) now: Timestamp,
}

/// One version of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) uid: String,
    pub(super) resource_version: String,
}

/// Identity of the process that took a Lease: the UID and the count of transitions that it wrote. No two processes
/// write the same count, because each takes the Lease under its resourceVersion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tenure {
    pub(super) version: Version,
    pub(super) transitions: i32,
    pub(super) acquired: Timestamp,
}

/// Why a Lease with our label is not the Lease of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnreadableLease {
    #[error("it has no name, UID or resourceVersion")]
    Metadata,
    #[error("its leaseDurationSeconds is missing or out of range")]
    Duration,
    #[error("it has no annotation {TOKENS}")]
    Tokens,
}

impl Member {
    pub(super) fn read(lease: &Lease) -> Result<Self, UnreadableLease> {
        let seconds = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds);
        let annotations = lease.metadata.annotations.as_ref();
        let tokens = annotations
            .and_then(|annotations| annotations.get(TOKENS))
            .ok_or(UnreadableLease::Tokens)?;
        Ok(Self {
            name: lease
                .metadata
                .name
                .clone()
                .ok_or(UnreadableLease::Metadata)?,
            version: Version::of(lease).ok_or(UnreadableLease::Metadata)?,
            duration: seconds
                .and_then(LeaseDuration::from_seconds)
                .ok_or(UnreadableLease::Duration)?,
            tokens: tokens
                .split(',')
                .filter(|token| !token.is_empty())
                .map(str::to_owned)
                .collect(),
            head: head(lease),
        })
    }

    /// Returns the signed checkpoint of this Lease if the Lease shows none of the same run `now`; `None` is a deleted Lease.
    pub(super) fn head_gone(&self, now: Option<&Self>) -> Option<SignedHead> {
        let head = self.head.as_ref()?;
        let now = now.and_then(|now| now.head.as_ref());
        let same = now.is_some_and(|now| now.run() == head.run());
        (!same).then(|| head.clone())
    }
}

/// Returns the signed checkpoint in a Lease; `None` also for one that is malformed. Verifies no signature.
pub(super) fn head(lease: &Lease) -> Option<SignedHead> {
    let annotations = lease.metadata.annotations.as_ref()?;
    let events = annotations.get(EVENTS)?.parse().ok()?;
    SignedHead::parse(annotations.get(CHECKPOINT)?, Some(events))
}

impl Version {
    pub(super) fn of(lease: &Lease) -> Option<Self> {
        Some(Self {
            uid: lease.metadata.uid.clone()?,
            resource_version: lease.metadata.resource_version.clone()?,
        })
    }
}

impl Tenure {
    /// Returns the tenure of a Lease that this process has created.
    pub(super) fn of_new(lease: &Lease, now: Timestamp) -> Option<Self> {
        Some(Self {
            version: Version::of(lease)?,
            transitions: transitions(lease),
            acquired: now,
        })
    }

    /// Returns the same tenure at the version of this Lease.
    pub(super) fn at(self, lease: &Lease) -> Option<Self> {
        Some(Self {
            version: Version::of(lease)?,
            ..self
        })
    }

    /// Returns the tenure that begins when this process takes the Lease over from another one.
    pub(super) fn after(lease: &Lease, now: Timestamp) -> Option<Self> {
        Some(Self {
            version: Version::of(lease)?,
            transitions: transitions(lease).wrapping_add(1),
            acquired: now,
        })
    }

    /// Returns whether the Lease still belongs to this process, no matter who else has edited it.
    pub(super) fn is_of(&self, lease: &Lease) -> bool {
        lease.metadata.uid.as_ref() == Some(&self.version.uid)
            && transitions(lease) == self.transitions
    }
}

fn transitions(lease: &Lease) -> i32 {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.lease_transitions).unwrap_or(0)
}

/// Returns the name of a replica's Lease. An identity that cannot be part of an object's name is replaced by its hash.
pub(super) fn name(identity: &str) -> String {
    let inner = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    let ends = [identity.bytes().next(), identity.bytes().last()];
    let plain = identity.len() <= 200
        && identity.bytes().all(inner)
        && ends
            .into_iter()
            .all(|end| end.is_some_and(|end| end != b'-'));
    if plain {
        format!("pkcs11-issuer-{identity}")
    } else {
        let hash = hex::encode(digest(&SHA256, identity.as_bytes()));
        format!("pkcs11-issuer.{hash}")
    }
}

/// Content that one replica writes into its Lease, without the version.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) identity: String,
    pub(super) pod: Option<OwnPod>,
    pub(super) duration: LeaseDuration,
}

impl Draft {
    /// Returns the Lease that a process creates when it finds none.
    pub(super) fn new_lease(&self, content: Content<'_>) -> Lease {
        self.lease(content, content.now, 0, None)
    }

    /// Returns the Lease that a process writes when it renews this version or takes it over.
    pub(super) fn renewed(&self, tenure: &Tenure, content: Content<'_>) -> Lease {
        let Tenure {
            version,
            transitions,
            acquired,
        } = tenure;
        self.lease(content, *acquired, *transitions, Some(version.clone()))
    }

    /// Returns whether this replica took the Lease at `acquired`, compared in microseconds, which is what the API
    /// stores.
    pub(super) fn has_acquired(&self, lease: &Lease, acquired: Timestamp) -> bool {
        lease.spec.as_ref().is_some_and(|spec| {
            let at = spec.acquire_time.as_ref();
            spec.holder_identity.as_ref() == Some(&self.identity)
                && at.is_some_and(|at| at.0.as_microsecond() == acquired.as_microsecond())
        })
    }

    fn lease(
        &self,
        Content { tokens, head, now }: Content<'_>,
        acquired: Timestamp,
        transitions: i32,
        version: Option<Version>,
    ) -> Lease {
        let (uid, resource_version) = version
            .map(|version| (version.uid, version.resource_version))
            .unzip();
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let mut annotations = BTreeMap::from([(TOKENS.to_owned(), tokens.join(","))]);
        if let Some(head) = head {
            let events = head.events().unwrap_or_default().to_string();
            annotations.insert(CHECKPOINT.to_owned(), head.note().to_owned());
            annotations.insert(EVENTS.to_owned(), events);
        }
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                uid,
                resource_version,
                labels: Some(BTreeMap::from([(LABEL.to_owned(), MEMBERSHIP.to_owned())])),
                annotations: Some(annotations),
                owner_references: self.pod.as_ref().map(|pod| vec![pod.owner_reference()]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(self.duration.seconds()),
                acquire_time: Some(MicroTime(acquired)),
                // For people only: no replica compares it with a clock.
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}

impl OwnPod {
    fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: None,
            block_owner_deletion: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            name: name("a"),
            namespace: "pki".to_owned(),
            identity: "a".to_owned(),
            pod: Some(OwnPod {
                name: "a".to_owned(),
                uid: "p".to_owned(),
            }),
            duration: "15s".parse().unwrap(),
        }
    }

    fn stored(lease: Lease) -> Lease {
        let mut lease = lease;
        lease.metadata.uid = Some("u".to_owned());
        lease.metadata.resource_version = Some("7".to_owned());
        lease
    }

    fn tokens(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn content(tokens: &BTreeSet<String>, now: Timestamp) -> Content<'_> {
        Content {
            tokens,
            head: None,
            now,
        }
    }

    fn lease() -> Lease {
        let tokens = tokens(&["issuing", "payments"]);
        stored(draft().new_lease(content(&tokens, Timestamp::UNIX_EPOCH)))
    }

    fn head() -> SignedHead {
        let root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
        let note = format!("prod/a/00ff00ff00ff00ff\n1\n{root}\n\n\u{2014} prod AAAAAAA=\n");
        SignedHead::parse(&note, Some(1)).unwrap()
    }

    #[test]
    fn a_lease_shows_the_newest_checkpoint_and_a_malformed_one_is_none() {
        let (tokens, head) = (tokens(&["issuing"]), head());
        let content = Content {
            head: Some(&head),
            ..content(&tokens, Timestamp::UNIX_EPOCH)
        };
        let shown = stored(draft().new_lease(content));
        assert_eq!(Member::read(&shown).unwrap().head, Some(head));
        assert_eq!(Member::read(&lease()).unwrap().head, None);
        for (annotation, value) in [
            (CHECKPOINT, "prod/a/00ff00ff00ff00ff\n1\n"),
            (EVENTS, "-1"),
            (EVENTS, ""),
        ] {
            let mut other = shown.clone();
            let annotations = other.metadata.annotations.as_mut().unwrap();
            annotations.insert(annotation.to_owned(), value.to_owned());
            let member = Member::read(&other).unwrap();
            assert_eq!(member.head, None, "{annotation} {value:?}");
        }
    }

    #[test]
    fn a_written_lease_reads_back_the_same() {
        let member = Member::read(&lease()).unwrap();
        assert_eq!(member.name, "pkcs11-issuer-a");
        assert_eq!(member.duration, draft().duration);
        assert_eq!(member.tokens, tokens(&["issuing", "payments"]));
        let none = tokens(&[]);
        let empty = draft().new_lease(content(&none, Timestamp::UNIX_EPOCH));
        assert_eq!(Member::read(&stored(empty)).unwrap().tokens, none);
    }

    #[test]
    fn a_lease_is_owned_by_its_pod() {
        let owners = lease().metadata.owner_references.unwrap();
        assert_eq!(
            (owners[0].kind.as_str(), owners[0].uid.as_str()),
            ("Pod", "p")
        );
    }

    #[test]
    fn a_foreign_lease_with_our_label_is_no_member() {
        let mut without_tokens = lease();
        without_tokens.metadata.annotations = None;
        assert_eq!(Member::read(&without_tokens), Err(UnreadableLease::Tokens));
        for seconds in [None, Some(0), Some(-1), Some(301), Some(i32::MAX)] {
            let mut other = lease();
            other.spec.as_mut().unwrap().lease_duration_seconds = seconds;
            assert_eq!(
                Member::read(&other),
                Err(UnreadableLease::Duration),
                "{seconds:?}"
            );
        }
        let mut without_spec = lease();
        without_spec.spec = None;
        assert_eq!(Member::read(&without_spec), Err(UnreadableLease::Duration));
        let mut without_version = lease();
        without_version.metadata.resource_version = None;
        assert_eq!(
            Member::read(&without_version),
            Err(UnreadableLease::Metadata)
        );
    }

    #[test]
    fn a_lease_belongs_to_a_process_until_another_takes_it() {
        let now = Timestamp::UNIX_EPOCH;
        let first = lease();
        let ours = Tenure::after(&first, now).unwrap();
        assert!(!ours.is_of(&first), "it was taken over, not kept");
        let none = tokens(&[]);
        let mut taken = stored(draft().renewed(&ours, content(&none, now)));
        taken.metadata.resource_version = Some("8".to_owned());
        assert!(ours.is_of(&taken), "an edit by others changes nothing");
        let theirs = Tenure::after(&taken, now).unwrap();
        assert!(!ours.is_of(&stored(draft().renewed(&theirs, content(&none, now)))));
        let mut made_again = taken;
        made_again.metadata.uid = Some("other".to_owned());
        assert!(!ours.is_of(&made_again));
    }

    #[test]
    fn a_lease_taken_by_an_unconfirmed_write_is_recognized_by_holder_and_microsecond() {
        let now: Timestamp = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        let stored_at = |lease: Lease| -> Lease {
            serde_json::from_value(serde_json::to_value(stored(lease)).unwrap()).unwrap()
        };
        let none = tokens(&[]);
        let ours = stored_at(draft().new_lease(content(&none, now)));
        assert!(draft().has_acquired(&ours, now));
        let earlier = now - std::time::Duration::from_micros(1);
        assert!(!draft().has_acquired(&ours, earlier));
        let other = Draft {
            identity: "b".to_owned(),
            ..draft()
        };
        assert!(!other.has_acquired(&ours, now));
        let tenure = Tenure::of_new(&ours, now).unwrap();
        let renewed = draft().renewed(&tenure, content(&none, earlier));
        assert!(draft().has_acquired(&stored_at(renewed), now));
        assert!(!draft().has_acquired(&Lease::default(), now));
    }

    #[test]
    fn every_identity_gives_a_different_valid_object_name() {
        let long = "a".repeat(300);
        let identities = [
            "issuer-0", "", "Issuer-0", "issuer_0", "issuer.0", "-", "a-", "ü", &long,
        ];
        let names: BTreeSet<String> = identities.iter().map(|identity| name(identity)).collect();
        assert_eq!(names.len(), identities.len());
        for name in names {
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            assert!(name.len() <= 253 && name.chars().all(legal), "{name}");
        }
    }
}
