//! The choice of the lines of a log to show. Pure.

use jiff::Timestamp;

use super::read::LogEntry;

/// A choice of lines: those that satisfy every condition given.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// The serial number, in the form of [`plain_serial`].
    pub serial: Option<String>,
    /// Part of a name of the certificate: of its subject or of an alternative name.
    pub name: Option<String>,
    /// The request or revocation: its UID, its name or its namespace and name, or the name of the Certificate that owns the
    /// request.
    pub request: Option<String>,
    /// The issuer: its name, or its namespace and name.
    pub issuer: Option<String>,
    /// CKA_ID of the key, hexadecimal, or the name of its token.
    pub key: Option<String>,
    /// Part of the name of the user that made the request.
    pub requester: Option<String>,
    /// Earliest time, inclusive.
    pub since: Option<Timestamp>,
    /// End of the time range, exclusive.
    pub until: Option<Timestamp>,
    /// The events; empty for all but *checkpoint*.
    pub events: Vec<String>,
}

impl EntryFilter {
    /// Returns whether a line satisfies every condition.
    #[must_use]
    pub fn admits(&self, entry: &LogEntry) -> bool {
        let Self {
            serial,
            name,
            request,
            issuer,
            key,
            requester,
            since,
            until,
            events,
        } = self;
        let is_event = match events.as_slice() {
            [] => entry.event != "checkpoint",
            some => some.contains(&entry.event),
        };
        is_event
            && holds(serial, |serial| {
                entry.serial.as_deref().map(plain_serial).as_ref() == Some(serial)
            })
            && holds(name, |name| {
                let mut names = entry.subject.iter().chain(&entry.names);
                names.any(|one| contains(one, name))
            })
            && holds(request, |wanted| {
                entry.request.as_ref().is_some_and(|request| {
                    request.uid == *wanted
                        || request.name == *wanted
                        || request.path() == *wanted
                        || request.certificate.as_ref() == Some(wanted)
                }) || entry.revocation.as_ref().is_some_and(|revocation| {
                    revocation.uid == *wanted
                        || revocation.name == *wanted
                        || revocation.path() == *wanted
                })
            })
            && holds(issuer, |wanted| {
                let issuer = entry.issuer.as_ref();
                issuer.is_some_and(|issuer| issuer.name == *wanted || issuer.path() == *wanted)
            })
            && holds(key, |wanted| {
                let id = entry.key_id.as_ref();
                let token = entry.token.as_ref().map(|token| &token.name);
                id.is_some_and(|id| id.eq_ignore_ascii_case(wanted)) || token == Some(wanted)
            })
            && holds(requester, |wanted| {
                let requester = entry.requester.as_ref();
                requester.is_some_and(|requester| contains(&requester.username, wanted))
            })
            && holds(since, |since| entry.time >= Some(*since))
            && holds(until, |until| entry.time.is_some_and(|time| time < *until))
    }
}

/// Returns a serial number in the form for comparisons: lower-case hexadecimal without colons, `0x` and leading
/// zeros. `openssl x509 -serial` and browsers print other forms.
#[must_use]
pub fn plain_serial(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase().replace(':', "");
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    digits.trim_start_matches('0').to_owned()
}

fn holds<T>(wanted: &Option<T>, check: impl FnOnce(&T) -> bool) -> bool {
    wanted.as_ref().is_none_or(check)
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> LogEntry {
        serde_json::from_value(serde_json::json!({
            "time": "2026-11-29T22:00:00Z",
            "run": "00ff",
            "seq": 1,
            "event": "signed",
            "request": {"kind": "CertificateRequest", "namespace": "shop", "name": "web-1", "uid": "8f0e", "certificate": "web"},
            "requester": {"username": "system:serviceaccount:cert-manager:cert-manager"},
            "issuer": {"kind": "PKCS11Issuer", "namespace": "shop", "name": "issuing"},
            "token": {"name": "hsm", "label": "L", "serial": "S"},
            "keyId": "a1b2",
            "serial": "01ff",
            "subject": "CN=web,O=Shop",
            "names": ["DNS:Web.example"],
        }))
        .unwrap()
    }

    #[test]
    fn each_condition_alone_admits_what_it_names_and_nothing_else() {
        type Set = fn(&mut EntryFilter, &str);
        let conditions: [(Set, &[&str], &str); 8] = [
            (
                |f, v| f.serial = Some(plain_serial(v)),
                &["01FF", "1ff", "01:ff", "0x01ff"],
                "01fe",
            ),
            (
                |f, v| f.name = Some(v.to_owned()),
                &["web.example", "o=shop"],
                "mail",
            ),
            (
                |f, v| f.request = Some(v.to_owned()),
                &["8f0e", "web-1", "shop/web-1", "web"],
                "8f0",
            ),
            (
                |f, v| f.issuer = Some(v.to_owned()),
                &["issuing", "shop/issuing"],
                "other/issuing",
            ),
            (|f, v| f.key = Some(v.to_owned()), &["A1B2", "hsm"], "a1"),
            (
                |f, v| f.requester = Some(v.to_owned()),
                &["cert-manager"],
                "kubelet",
            ),
            (
                |f, v| f.since = v.parse().ok(),
                &["2026-11-29T22:00:00Z"],
                "2026-11-29T22:00:01Z",
            ),
            (
                |f, v| f.until = v.parse().ok(),
                &["2026-11-29T22:00:01Z"],
                "2026-11-29T22:00:00Z",
            ),
        ];
        for (set, admitted, other) in conditions {
            for (value, expected) in admitted
                .iter()
                .map(|value| (*value, true))
                .chain([(other, false)])
            {
                let mut filter = EntryFilter::default();
                set(&mut filter, value);
                assert_eq!(filter.admits(&entry()), expected, "{value}");
                let bare = LogEntry {
                    event: "started".to_owned(),
                    ..LogEntry::default()
                };
                assert!(!filter.admits(&bare), "{value}");
            }
        }
    }

    #[test]
    fn checkpoints_are_shown_only_if_they_are_asked_for() {
        let checkpoint = LogEntry {
            event: "checkpoint".to_owned(),
            ..LogEntry::default()
        };
        assert!(!EntryFilter::default().admits(&checkpoint));
        assert!(EntryFilter::default().admits(&entry()));
        let filter = EntryFilter {
            events: vec!["checkpoint".to_owned()],
            ..EntryFilter::default()
        };
        assert!(filter.admits(&checkpoint));
        assert!(!filter.admits(&entry()));
    }
}
