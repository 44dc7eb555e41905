//! What the metrics tell of all issuers together: no metric has an issuer's name.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::{api::issuer::Reason, metrics::Metrics, pipeline::IssuerName};

/// Every issuer that is known, and the metrics that are made of them.
#[derive(Debug)]
pub struct Census {
    metrics: Arc<Metrics>,
    issuers: Mutex<HashMap<IssuerName, Counted>>,
}

/// What counts of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The reason of its `Ready` condition.
    pub reason: Reason,
    /// The token that it names, if the operator's configuration has it.
    pub token: Option<String>,
    /// When its issuing certificate ends, if that is known.
    pub not_after: Option<Timestamp>,
}

/// The values of all series.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    issuers: BTreeMap<(&'static str, &'static str), i64>,
    not_after: BTreeMap<String, i64>,
}

impl Census {
    /// No issuers.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            issuers: Mutex::default(),
        }
    }

    /// Counts an issuer as it is now.
    pub fn count(&self, name: &IssuerName, counted: Counted) {
        self.change(|issuers| {
            issuers.insert(name.clone(), counted);
        });
    }

    /// The issuer is no more.
    pub fn forget(&self, name: &IssuerName) {
        self.change(|issuers| {
            issuers.remove(name);
        });
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<IssuerName, Counted>)) {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = totals(&issuers);
        change(&mut issuers);
        let now = totals(&issuers);
        for (kind, reason) in before.issuers.keys() {
            if !now.issuers.contains_key(&(*kind, *reason)) {
                self.metrics.issuers(kind, reason, None);
            }
        }
        for token in before.not_after.keys() {
            if !now.not_after.contains_key(token) {
                self.metrics.ca_not_after(token, None);
            }
        }
        for ((kind, reason), count) in &now.issuers {
            self.metrics.issuers(kind, reason, Some(*count));
        }
        for (token, seconds) in &now.not_after {
            self.metrics.ca_not_after(token, Some(*seconds));
        }
    }
}

fn totals(issuers: &HashMap<IssuerName, Counted>) -> Totals {
    let mut totals = Totals::default();
    for (name, counted) in issuers {
        let key = (name.kind(), counted.reason.as_str());
        *totals.issuers.entry(key).or_default() += 1;
        if let (Some(token), Some(not_after)) = (&counted.token, counted.not_after) {
            let seconds = not_after.as_second();
            let first = totals.not_after.entry(token.clone()).or_insert(seconds);
            *first = seconds.min(*first);
        }
    }
    totals
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
        }
    }

    fn has(metrics: &Metrics, line: &str) -> bool {
        let text = metrics.encode().unwrap();
        text.lines().any(|found| found == line)
    }

    #[test]
    fn issuers_are_counted_by_reason_and_the_first_end_of_a_certificate_is_told() {
        const VERIFIED: &str =
            r#"pkcs11_issuer_issuers{kind="PKCS11ClusterIssuer",reason="Verified"} "#;
        const ENDS: &str = r#"pkcs11_issuer_ca_not_after_timestamp_seconds{token="issuing"} "#;
        let metrics = Arc::new(Metrics::new("0.1.0", "unknown"));
        let census = Census::new(Arc::clone(&metrics));
        census.count(&name("a"), counted(Reason::Verified, 2000));
        census.count(&name("b"), counted(Reason::Verified, 1000));
        assert!(has(&metrics, &format!("{VERIFIED}2")));
        assert!(has(&metrics, &format!("{ENDS}1000")));
        census.count(&name("a"), counted(Reason::KeyNotFound, 2000));
        census.forget(&name("b"));
        assert!(has(&metrics, &format!("{ENDS}2000")));
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"reason="KeyNotFound"} 1"#), "{text}");
        assert!(!text.contains("Verified\"}"), "{text}");
        census.forget(&name("a"));
        assert!(!metrics.encode().unwrap().contains("issuing"));
    }
}
