//! Decides whether an issuing certificate, or a certificate above it, ends soon. "Soon" leaves enough time to renew the
//! certificate before a request must be refused. Pure.

use jiff::{SignedDuration, Timestamp};

use super::seen::certificate_status;
use crate::{
    api::issuer::{CertificateStatus, IssuerSpec, Reason},
    issuance::{IssuerChain, profile::ValidityRules},
};

/// Time for people to renew the certificate.
const TIME_TO_RENEW: SignedDuration = SignedDuration::from_hours(30 * 24);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Content of the `CAExpiringSoon` condition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) soon: bool,
    pub(super) message: String,
    reason: Reason,
}

impl Expiry {
    /// Returns the expiry, or `None` while no certificate is known.
    pub(super) fn of(
        certificate: &CertificateStatus,
        spec: &IssuerSpec,
        now: Timestamp,
    ) -> Option<Self> {
        let not_after = first_end(certificate)?;
        let what = match certificate.chain_not_after {
            Some(_) => "A certificate above the issuing certificate",
            None => "The issuing certificate",
        };
        let left = not_after.duration_since(now);
        let soon = left < notice(certificate, spec)?;
        let is_too_short = is_too_short(certificate, spec, now);
        let message = match (soon, left.is_positive(), is_too_short) {
            (false, _, false) => format!("{what} is valid until {not_after}"),
            (false, _, true) => format!(
                "{what} ends at {not_after}, in {}, before a certificate of the default duration ({:#}) would: requests without a duration are refused or cut short; renew it, or shorten spec.profile.validity.default",
                in_words(left),
                validity(spec).default,
            ),
            (true, false, _) => format!("{what} ended at {not_after}; give the issuer a new one"),
            (true, true, _) => format!(
                "{what} ends at {not_after}, in {}; renew it: requests that go beyond its end are refused or cut short",
                in_words(left)
            ),
        };
        let reason = match (soon, is_too_short) {
            (true, _) => Reason::ExpiresSoon,
            (false, true) => Reason::ShorterThanProfile,
            (false, false) => Reason::NotExpiringSoon,
        };
        Some(Self {
            soon: soon || is_too_short,
            message,
            reason,
        })
    }

    pub(super) const fn reason(&self) -> Reason {
        self.reason
    }
}

/// Returns what the `CAExpiringSoon` condition of an issuer with this chain would say at `now`, and whether it warns.
#[must_use]
pub fn expiry_of(chain: &IssuerChain, spec: &IssuerSpec, now: Timestamp) -> Option<(bool, String)> {
    let Expiry { soon, message, .. } = Expiry::of(&certificate_status(chain), spec, now)?;
    Some((soon, message))
}

/// Returns the earliest end of a certificate of the chain. After it, nothing issued below that certificate is valid.
pub(super) fn first_end(certificate: &CertificateStatus) -> Option<Timestamp> {
    let chain = certificate.chain_not_after.as_ref();
    chain.or(certificate.not_after.as_ref()).map(|time| time.0)
}

/// Returns whether the chain ends before a certificate of the profile's default duration would, if it were issued `now`.
pub(super) fn is_too_short(
    certificate: &CertificateStatus,
    spec: &IssuerSpec,
    now: Timestamp,
) -> bool {
    first_end(certificate).is_some_and(|end| end.duration_since(now) < validity(spec).default)
}

/// Returns when people have to renew the certificate: when the warning begins.
pub(super) fn renewal_due(certificate: &CertificateStatus, spec: &IssuerSpec) -> Option<Timestamp> {
    first_end(certificate)?
        .checked_sub(notice(certificate, spec)?)
        .ok()
}

/// Returns how long before the end the warning begins.
fn notice(certificate: &CertificateStatus, spec: &IssuerSpec) -> Option<SignedDuration> {
    let not_after = first_end(certificate)?;
    let life = not_after.duration_since(certificate.not_before.as_ref()?.0);
    // A request for the longest duration is refused as soon as less than that duration is left. By that rule alone,
    // an issuing certificate that lives hardly longer than the certificates below it would be reported from its
    // first day. So no certificate is reported before the last third of its life.
    Some((longest(spec).saturating_add(TIME_TO_RENEW)).min(life / 3))
}

/// Returns the first time after `now` at which an issuer's status changes by the passing of time alone: a certificate of its
/// chain begins or ends, or the warning begins. `chain` is `None` if the certificates were not read.
pub(super) fn next_change(
    chain: Option<&IssuerChain>,
    certificate: Option<&CertificateStatus>,
    spec: &IssuerSpec,
    now: Timestamp,
) -> Option<Timestamp> {
    // Each warning begins when less than this time is left.
    let begins = |notice: SignedDuration| {
        let not_after = first_end(certificate?)?;
        let notice = notice.checked_sub(SignedDuration::from_millis(1))?;
        not_after.checked_sub(notice).ok()
    };
    let warning = certificate.and_then(|known| begins(notice(known, spec)?));
    // The first warning hides the other one.
    let too_short = begins(validity(spec).default);
    let too_short = too_short.filter(|at| warning.is_none_or(|warning| *at < warning));
    let points = chain.into_iter().flat_map(IssuerChain::turning_points);
    let warnings = warning.into_iter().chain(too_short);
    points.chain(warnings).filter(|point| *point > now).min()
}

/// Returns the longest duration that the profile allows. The limits of the grant do not count: they are unknown while the
/// token is unavailable, and the condition must not change because of that.
pub(super) fn longest(spec: &IssuerSpec) -> SignedDuration {
    validity(spec).max
}

fn validity(spec: &IssuerSpec) -> ValidityRules {
    ValidityRules::try_from(spec.profile.validity.clone()).unwrap_or_default()
}

/// Returns the time left in coarse words, so that the text, and with it the status, changes once a day, and once an
/// hour in the last days.
fn in_words(left: SignedDuration) -> String {
    let (count, unit) = if left >= DAY * 3 {
        (left.as_hours() / 24, "days")
    } else if left >= HOUR {
        (left.as_hours(), "hours")
    } else {
        return "less than an hour".to_owned();
    };
    match count {
        1 => format!("1 {}", unit.trim_end_matches('s')),
        _ => format!("{count} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::issuance::testing::chain_valid;

    const START: &str = "2026-01-01T00:00:00Z";

    fn spec(longest: &str) -> IssuerSpec {
        serde_json::from_value(json!({
            "token": "issuing",
            "certificate": {"pem": "-"},
            "profile": {"validity": {"max": longest, "default": "1h"}},
        }))
        .unwrap()
    }

    /// Returns the expiry of a certificate that is valid for `days` days, when `passed` of that time is over.
    fn said(days: i64, longest: &str, passed: SignedDuration) -> Expiry {
        let start: Timestamp = START.parse().unwrap();
        let certificate = CertificateStatus {
            not_before: Some(Time(start)),
            not_after: Some(Time(start + DAY * i32::try_from(days).unwrap())),
            ..CertificateStatus::default()
        };
        Expiry::of(&certificate, &spec(longest), start + passed).unwrap()
    }

    #[test]
    fn the_warning_comes_a_month_before_the_longest_request_would_be_refused() {
        let ten_years = 3650;
        let due = DAY * (ten_years - 365 - 30);
        assert!(!said(3650, "8760h", due).soon);
        assert!(said(3650, "8760h", due + SignedDuration::from_secs(1)).soon);
        let short = DAY * (ten_years - 1 - 30);
        assert!(!said(3650, "24h", short).soon);
        assert!(said(3650, "24h", short + SignedDuration::from_secs(1)).soon);
    }

    #[test]
    fn a_certificate_that_lives_hardly_longer_than_those_below_it_warns_in_its_last_third() {
        assert!(!said(365, "8760h", SignedDuration::ZERO).soon);
        assert!(!said(30, "8760h", DAY * 20).soon);
        assert!(said(30, "8760h", DAY * 20 + SignedDuration::from_secs(1)).soon);
    }

    #[test]
    fn a_chain_that_ends_before_a_certificate_of_the_default_duration_warns_from_the_first_day() {
        let said = |default: &str, passed| {
            let mut spec = spec("8760h");
            spec.profile =
                serde_json::from_value(json!({"validity": {"max": "8760h", "default": default}}))
                    .unwrap();
            let start: Timestamp = START.parse().unwrap();
            let certificate = CertificateStatus {
                not_before: Some(Time(start)),
                not_after: Some(Time(start + DAY * 90)),
                ..CertificateStatus::default()
            };
            let changes = next_change(None, Some(&certificate), &spec, start);
            let expiry = Expiry::of(&certificate, &spec, start + passed).unwrap();
            (expiry.soon, expiry.reason(), changes)
        };
        let second = SignedDuration::from_secs(1);
        let begins = |days: i32| Some(START.parse::<Timestamp>().unwrap() + DAY * days);
        let after =
            |time: Option<Timestamp>| time.map(|time| time + SignedDuration::from_millis(1));
        let well = (false, Reason::NotExpiringSoon, after(begins(50)));
        assert_eq!(said("960h", DAY * 50), well);
        let (soon, reason, _) = said("960h", DAY * 50 + second);
        assert_eq!((soon, reason), (true, Reason::ShorterThanProfile));
        let (soon, reason, _) = said("2400h", second);
        assert_eq!((soon, reason), (true, Reason::ShorterThanProfile));
        let (_, reason, _) = said("2400h", DAY * 80);
        assert_eq!(reason, Reason::ExpiresSoon);
    }

    #[test]
    fn the_time_left_is_given_in_coarse_words() {
        let told = |passed| said(30, "24h", passed).message;
        assert_eq!(
            told(DAY),
            "The issuing certificate is valid until 2026-01-31T00:00:00Z"
        );
        for (passed, left) in [
            (DAY * 25, "in 5 days;"),
            (DAY * 27, "in 3 days;"),
            (DAY * 28, "in 48 hours;"),
            (DAY * 30 - HOUR, "in 1 hour;"),
            (DAY * 30 - HOUR / 2, "in less than an hour;"),
        ] {
            assert!(told(passed).contains(left), "{}", told(passed));
        }
        assert!(told(DAY * 31).contains("ended at 2026-01-31T00:00:00Z"));
    }

    #[test]
    fn the_earliest_end_of_the_chain_counts() {
        let start: Timestamp = START.parse().unwrap();
        let certificate = CertificateStatus {
            not_before: Some(Time(start)),
            not_after: Some(Time(start + DAY * 3650)),
            chain_not_after: Some(Time(start + DAY * 30)),
            ..CertificateStatus::default()
        };
        assert_eq!(first_end(&certificate), Some(start + DAY * 30));
        let said = |days| Expiry::of(&certificate, &spec("24h"), start + DAY * days).unwrap();
        assert!(!said(1).soon);
        assert!(said(25).soon);
        assert!(
            said(25).message.starts_with(
                "A certificate above the issuing certificate ends at 2026-01-31T00:00:00Z, in 5 days;"
            ),
            "{}",
            said(25).message
        );
    }

    #[test]
    fn the_status_changes_at_each_start_and_end_in_the_chain_and_when_the_warning_begins() {
        let start: Timestamp = START.parse().unwrap();
        let day = |days: i32| start + DAY * days;
        let after = |time: Timestamp| time + SignedDuration::from_millis(1);
        let spec = spec("24h");
        let chain = chain_valid((day(1), day(100)), (day(0), day(90)));
        let certificate = CertificateStatus {
            not_before: Some(Time(day(1))),
            not_after: Some(Time(day(100))),
            chain_not_after: Some(Time(day(90))),
            ..CertificateStatus::default()
        };
        let mut changes = Vec::new();
        let mut now = start - DAY;
        while let Some(next) = next_change(Some(&chain), Some(&certificate), &spec, now) {
            changes.push(next);
            now = next;
        }
        // A third of the 89 days from the start of the issuing certificate to the end of the root.
        let warning = day(90) - DAY * 89 / 3;
        let ends = [after(day(90)), after(day(100))];
        assert_eq!(changes, [day(0), day(1), after(warning), ends[0], ends[1]]);
        let soon = |at| Expiry::of(&certificate, &spec, at).unwrap().soon;
        assert!(!soon(warning) && soon(after(warning)));
        for end in ends {
            let before = end - SignedDuration::from_millis(1);
            assert!(chain.check_at(before).is_ok() == (before == day(90)));
            assert!(chain.check_at(end).is_err());
        }
        // While the certificates cannot be read, the warning still begins on time.
        let unread = next_change(None, Some(&certificate), &spec, start);
        assert_eq!(unread, Some(after(warning)));
    }

    #[test]
    fn there_is_no_expiry_while_no_certificate_is_known() {
        let now = START.parse().unwrap();
        assert_eq!(
            Expiry::of(&CertificateStatus::default(), &spec("24h"), now),
            None
        );
    }
}
