//! Metrics of issuers: of all of them together and, if the operator wants that, of single ones.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;

use jiff::Timestamp;

use crate::{
    api::{IssuerName, issuer::Reason},
    metrics::{IssuerHealth, Metrics},
    reconcile::issuer_id,
};

/// All known issuers, and the metrics that are computed from them.
#[derive(Debug)]
pub(super) struct Census {
    metrics: Arc<Metrics>,
    counts: Mutex<Counts>,
}

/// The issuers, and how many there are by reason and by end of their certificates.
#[derive(Debug, Default)]
struct Counts {
    issuers: HashMap<IssuerName, Counted>,
    by_reason: BTreeMap<(&'static str, &'static str), usize>,
    /// How many certificates end at each time, by the token that holds their keys.
    ends: BTreeMap<String, BTreeMap<Timestamp, usize>>,
    /// How many issuers have a chain that is too short, by the token that holds their keys.
    too_short: BTreeMap<String, usize>,
}

/// The facts about one issuer that the metrics count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// The reason of its `Ready` condition.
    pub reason: Reason,
    /// The token that it names, if the operator's configuration has it.
    pub token: Option<String>,
    /// The earliest end of a certificate of its chain, if that is known.
    pub not_after: Option<Timestamp>,
    /// Whether its chain ends before a certificate of its default duration would.
    pub too_short: bool,
}

impl Census {
    /// Creates a census without issuers.
    #[must_use]
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            counts: Mutex::default(),
        }
    }

    /// Counts an issuer as it is now.
    pub(super) fn count(&self, name: &IssuerName, counted: Counted) {
        self.change(name, Some(counted));
    }

    /// Removes a deleted issuer.
    pub(super) fn forget(&self, name: &IssuerName) {
        self.change(name, None);
    }

    /// Updates the metrics for one issuer, without going through all others: there may be thousands.
    fn change(&self, name: &IssuerName, now: Option<Counted>) {
        let mut counts = self.counts.lock();
        if counts.issuers.get(name) == now.as_ref() {
            return;
        }
        let before = match &now {
            Some(now) => counts.issuers.insert(name.clone(), now.clone()),
            None => counts.issuers.remove(name),
        };
        let kind = name.kind();
        self.metrics.issuer(
            issuer_id(name),
            now.as_ref().map(|now| IssuerHealth {
                ready: now.reason == Reason::Verified,
                not_after: now.not_after.map(Timestamp::as_second),
            }),
        );
        if let Some(before) = &before {
            decrement(&mut counts.by_reason, &(kind, before.reason.as_str()));
            if let Some((token, end)) = before.end()
                && let Some(ends) = counts.ends.get_mut(token)
            {
                decrement(ends, &end);
            }
            if let Some(token) = before.short_on() {
                decrement(&mut counts.too_short, &token.to_owned());
            }
        }
        if let Some(now) = &now {
            *counts
                .by_reason
                .entry((kind, now.reason.as_str()))
                .or_default() += 1;
            if let Some((token, end)) = now.end() {
                let ends = counts.ends.entry(token.to_owned()).or_default();
                *ends.entry(end).or_default() += 1;
            }
            if let Some(token) = now.short_on() {
                *counts.too_short.entry(token.to_owned()).or_default() += 1;
            }
        }
        for counted in before.iter().chain(&now) {
            let count = counts.by_reason.get(&(kind, counted.reason.as_str()));
            let count = count.and_then(|count| i64::try_from(*count).ok());
            self.metrics.issuers(kind, counted.reason.as_str(), count);
            if let Some((token, _)) = counted.end() {
                let first = counts.ends.get(token).and_then(|ends| ends.keys().next());
                self.metrics
                    .ca_not_after(token, first.map(|end| end.as_second()));
                let short = first.map(|_| counts.too_short.get(token).copied().unwrap_or_default());
                let short = short.and_then(|count| i64::try_from(count).ok());
                self.metrics.ca_too_short(token, short);
            }
        }
        counts.ends.retain(|_, ends| !ends.is_empty());
    }
}

impl Counted {
    /// Returns the token that holds its key, if its chain is too short.
    fn short_on(&self) -> Option<&str> {
        let (token, _) = self.end()?;
        self.too_short.then_some(token)
    }

    /// Returns the token that holds its key, and when its chain ends.
    fn end(&self) -> Option<(&str, Timestamp)> {
        Some((self.token.as_deref()?, self.not_after?))
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> IssuerName {
        IssuerName {
            namespace: None,
            name: name.to_owned(),
        }
    }

    fn counted(reason: Reason, ends: i64) -> Counted {
        Counted {
            reason,
            token: Some("issuing".to_owned()),
            not_after: Some(Timestamp::from_second(ends).unwrap()),
            too_short: ends < 2000,
        }
    }

    fn has(metrics: &Metrics, line: &str) -> bool {
        let text = metrics.encode().unwrap();
        text.lines().any(|found| found == line)
    }

    #[test]
    fn issuers_are_counted_by_reason_and_the_earliest_end_of_a_certificate_is_shown() {
        const VERIFIED: &str =
            r#"pkcs11_issuer_issuers{kind="PKCS11ClusterIssuer",reason="Verified"} "#;
        const ENDS: &str = r#"pkcs11_issuer_ca_not_after_timestamp_seconds{token="issuing"} "#;
        let metrics = Arc::new(Metrics::new("0.1.0", "unknown"));
        let census = Census::new(Arc::clone(&metrics));
        census.count(&name("a"), counted(Reason::Verified, 2000));
        census.count(&name("b"), counted(Reason::Verified, 1000));
        assert!(has(&metrics, &format!("{VERIFIED}2")));
        assert!(has(&metrics, &format!("{ENDS}1000")));
        const SHORT: &str = r#"pkcs11_issuer_ca_too_short_issuers{token="issuing"} "#;
        assert!(has(&metrics, &format!("{SHORT}1")));
        census.count(&name("a"), counted(Reason::KeyNotFound, 2000));
        census.forget(&name("b"));
        assert!(has(&metrics, &format!("{ENDS}2000")));
        assert!(has(&metrics, &format!("{SHORT}0")));
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"reason="KeyNotFound"} 1"#), "{text}");
        assert!(!text.contains("Verified\"}"), "{text}");
        census.forget(&name("a"));
        assert!(!metrics.encode().unwrap().contains("issuing"));
    }
}
