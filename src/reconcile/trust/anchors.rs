//! Trust anchors of a bundle: those of the issuer, and for a while those that it had before. Pure.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};

use crate::{api::issuer::RetiringStatus, issuance::pem};

/// The trust anchors of one issuer by the SHA-256 of their DER in hexadecimal.
///
/// An anchor that the issuer no longer has stays for as long as a certificate issued under it may live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BundleAnchors(BTreeMap<String, Anchor>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Anchor {
    pem: String,
    /// When the anchor is removed; `None` while the issuer has it.
    until: Option<Timestamp>,
}

impl BundleAnchors {
    /// Reads the anchors of a bundle. A bundle that cannot be parsed has none.
    pub(super) fn read(bundle: &str, retiring: &BTreeMap<String, Timestamp>) -> Self {
        let mut anchors = Self::of(bundle);
        for (name, anchor) in &mut anchors.0 {
            anchor.until = retiring.get(name).copied();
        }
        anchors
    }

    /// Returns these certificates, all of them as current anchors.
    fn of(text: &str) -> Self {
        let blocks = pem::scan(text.as_bytes()).map(|read| read.blocks);
        let anchors = blocks.unwrap_or_default().into_iter().map(|block| {
            let anchor = Anchor {
                pem: pem::encode("CERTIFICATE", &block.der),
                until: None,
            };
            (hex::encode(digest(&SHA256, &block.der)), anchor)
        });
        Self(anchors.collect())
    }

    /// Returns the anchors from `now` on. `current` (PEM) are the issuer's anchors, `former` those of its former CAs, which are
    /// removed at their ends. Any other anchor stays for `longest`, in which the certificates under it end.
    pub(super) fn renewed(
        &self,
        current: &str,
        former: &[RetiringStatus],
        now: Timestamp,
        longest: SignedDuration,
    ) -> Self {
        let mut anchors = Self::of(current);
        for former in former {
            for (name, anchor) in Self::of(&former.pem).0 {
                let until = Some(former.until.0);
                let anchor = Anchor { until, ..anchor };
                anchors.0.entry(name).or_insert(anchor);
            }
        }
        for (name, before) in &self.0 {
            // An end that cannot be represented is so far in the future that the latest time stands for it.
            let until = before
                .until
                .unwrap_or_else(|| now.checked_add(longest).unwrap_or(Timestamp::MAX));
            if until > now && !anchors.0.contains_key(name) {
                let retiring = Anchor {
                    pem: before.pem.clone(),
                    until: Some(until),
                };
                anchors.0.insert(name.clone(), retiring);
            }
        }
        anchors
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bundle in PEM.
    pub(super) fn pem(&self) -> String {
        self.0.values().map(|anchor| anchor.pem.as_str()).collect()
    }

    /// Returns the retiring anchors, and when each is removed.
    pub(super) fn retiring(&self) -> BTreeMap<String, Timestamp> {
        let ends = self.0.iter().filter_map(|(name, anchor)| {
            // Whole seconds, so that a bundle reads back as it was written.
            let until = Timestamp::from_second(anchor.until?.as_second()).ok()?;
            Some((name.clone(), until))
        });
        ends.collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn root(name: &str) -> String {
        pem::encode("CERTIFICATE", name.as_bytes())
    }

    /// Returns the anchors as they are read after they were written.
    fn stored(anchors: &BundleAnchors) -> BundleAnchors {
        BundleAnchors::read(&anchors.pem(), &anchors.retiring())
    }

    #[test]
    fn a_new_root_is_trusted_at_once_and_the_old_one_for_as_long_as_its_certificates_live() {
        let first = BundleAnchors::default().renewed(&root("old"), &[], now(), HOUR);
        assert_eq!(first.pem(), root("old"));
        let both = stored(&first).renewed(&root("new"), &[], now(), HOUR);
        assert!(both.pem().contains(&root("old")) && both.pem().contains(&root("new")));
        assert_eq!(both.retiring().len(), 1);
        let almost = now() + HOUR - SignedDuration::from_secs(1);
        let still = stored(&both).renewed(&root("new"), &[], almost, HOUR);
        assert_eq!(still, both, "looking again moves no end");
        let alone = stored(&both).renewed(&root("new"), &[], now() + HOUR, HOUR);
        assert_eq!(alone.pem(), root("new"));
    }

    #[test]
    fn a_root_that_comes_back_is_not_retired() {
        let both = BundleAnchors::default()
            .renewed(&root("old"), &[], now(), HOUR)
            .renewed(&root("new"), &[], now(), HOUR);
        let back = stored(&both).renewed(&root("old"), &[], now(), HOUR);
        assert!(!back.retiring().is_empty());
        let later = stored(&back).renewed(&root("old"), &[], now() + HOUR, HOUR);
        assert_eq!(later.pem(), root("old"));
        assert!(later.retiring().is_empty());
    }

    #[test]
    fn without_an_issuer_every_root_retires_and_then_nothing_is_left() {
        let first = BundleAnchors::default().renewed(&root("old"), &[], now(), HOUR);
        let orphan = stored(&first).renewed("", &[], now(), HOUR);
        assert!(!orphan.is_empty());
        assert!(
            stored(&orphan)
                .renewed("", &[], now() + HOUR, HOUR)
                .is_empty()
        );
    }

    #[test]
    fn the_root_of_a_former_ca_is_removed_at_its_own_end() {
        let until = now() + HOUR * 3;
        let former = [RetiringStatus {
            ca: "former".to_owned(),
            subject: "CN=former".to_owned(),
            until: Time(until),
            pem: root("old"),
        }];
        let first = BundleAnchors::default().renewed(&root("old"), &[], now(), HOUR);
        let both = stored(&first).renewed(&root("new"), &former, now(), HOUR);
        assert_eq!(both.retiring().into_values().collect::<Vec<_>>(), [until]);
        let second = SignedDuration::from_secs(1);
        let still = stored(&both).renewed(&root("new"), &former, until - second, HOUR);
        assert_eq!(still, both);
        let gone = stored(&both).renewed(&root("new"), &[], until, HOUR);
        assert_eq!(gone.pem(), root("new"));
        // A bundle that is created anew has it too.
        let anew = BundleAnchors::default().renewed(&root("new"), &former, now(), HOUR);
        assert_eq!(anew, both);
        // A CA that signs again does not retire.
        let back = stored(&both).renewed(&(root("new") + &root("old")), &former, now(), HOUR);
        assert!(back.retiring().is_empty());
    }

    #[test]
    fn one_root_given_twice_is_one_anchor() {
        let twice = root("old") + &root("old");
        let anchors = BundleAnchors::default().renewed(&twice, &[], now(), HOUR);
        assert_eq!(anchors.pem(), root("old"));
    }
}
