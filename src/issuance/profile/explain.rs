//! Explains to people every decision of a profile about one request.

use der::flagset::FlagSet;
use x509_cert::ext::pkix::KeyUsages;

use super::{Profile, SubjectMode, Wanted, check_svid_usages, names};
use crate::issuance::{claim::Role, csr::VerifiedCsr, oid::Oid, refusal::Refusal, usage::Usage};

/// One decision of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleDecision {
    /// The part of the profile that decides, by its name in the profile.
    pub rule: &'static str,
    /// What it admits, or the refusal.
    pub verdict: Result<String, Refusal>,
}

impl Profile {
    /// Returns what each part of the profile decides.
    ///
    /// These are the decisions of [`admit`](Self::admit), made in the same order by the same code. `admit` stops at the
    /// first refusal; this function continues with everything that can still be judged.
    #[must_use]
    pub fn explain(&self, csr: &VerifiedCsr, wanted: &Wanted<'_>) -> Vec<RuleDecision> {
        let rules = &self.rules;
        let mut decisions = Vec::new();
        let mut say = |rule, verdict: Result<String, Refusal>| {
            decisions.push(RuleDecision { rule, verdict });
        };
        if let Err(refusal) = self.check_namespace(wanted.variables) {
            say("namespace", Err(refusal));
        }
        let algorithm = csr.public_key().algorithm();
        say(
            "keys",
            rules
                .keys
                .check(csr.public_key())
                .map(|()| format!("{algorithm} key")),
        );
        let authority = rules.ca.judge(csr, wanted, &self.limits);
        say(
            "ca",
            authority
                .as_ref()
                .map_err(Clone::clone)
                .map(|authority| match authority {
                    None => "a leaf certificate".to_owned(),
                    Some(authority) => match authority.path_length() {
                        None => "a CA certificate with any number of CAs below it".to_owned(),
                        Some(most) => {
                            format!("a CA certificate with at most {most} CAs in a row below it")
                        }
                    },
                }),
        );
        let usages = self.usages(csr, wanted);
        say(
            "usages",
            usages
                .as_ref()
                .map(|usages| in_words(usages.key, &usages.extended))
                .map_err(Clone::clone),
        );
        if !csr.asked().others.is_empty() {
            let judged = rules.extensions.judge(csr);
            let copied = &rules.extensions.from_csr;
            say(
                "extensions",
                judged.map(|dropped| extensions_in_words(csr, copied, &dropped)),
            );
        }
        let mut named = false;
        let subject = rules
            .subject
            .judge(csr, wanted.variables)
            .and_then(|subject| match authority {
                Ok(Some(_)) => {
                    named = subject.is_empty();
                    rules.ca.subject(csr, subject)
                }
                Ok(None) | Err(_) => Ok(subject),
            })
            .and_then(|subject| {
                self.check_subject(&subject, wanted.variables)?;
                Ok(subject)
            });
        say(
            "subject",
            subject
                .as_ref()
                .map(|subject| match (&rules.subject.mode, subject.is_empty()) {
                    (_, _) if named => {
                        format!("{subject}, the first DNS name, as the profile says")
                    }
                    (SubjectMode::Omit, _) => "left out, as the profile says".to_owned(),
                    (SubjectMode::Verbatim | SubjectMode::Fixed(_), true) => "none".to_owned(),
                    (SubjectMode::Verbatim, false) => format!("{subject}, as in the CSR"),
                    (SubjectMode::Fixed(_), false) => format!("{subject}, as the profile says"),
                })
                .map_err(Clone::clone),
        );
        if let Ok(subject) = &subject {
            let judge = names::Judge::new(rules, &self.limits, wanted.variables);
            for (topic, decision) in judge.decisions(csr, subject, Role::of(wanted.is_ca)) {
                say("sans", decision.map(|()| topic.to_string()));
            }
        }
        if let Ok(usages) = &usages {
            let fitted = rules.usages.fit(csr, usages.key).and_then(|kept| {
                if rules.names.spiffe {
                    check_svid_usages(kept)?;
                }
                Ok(kept)
            });
            say(
                "usages",
                fitted.map(|kept| match kept == usages.key {
                    true => format!("all of the key usages; {algorithm} keys can have them"),
                    false => format!(
                        "only the key usages {}; {algorithm} keys cannot have the others",
                        in_words(kept, &[])
                    ),
                }),
            );
        }
        let given = match wanted.duration {
            Some(_) => "as asked",
            None => "the profile's default",
        };
        say(
            "validity",
            rules.validity.duration(wanted.duration).map(|duration| {
                let backdate = rules.validity.backdate_of(duration);
                format!("{duration:#}, {given}; the window begins {backdate:#} before now")
            }),
        );
        decisions
    }
}

/// Describes which of the CSR's other extensions are copied and which are dropped.
fn extensions_in_words(csr: &VerifiedCsr, copied: &[Oid], dropped: &[Oid]) -> String {
    let listed = |oids: &[Oid]| {
        let oids: Vec<_> = oids.iter().map(ToString::to_string).collect();
        oids.join(", ")
    };
    let asked = csr
        .asked()
        .others
        .iter()
        .map(|extension| extension.extn_id.clone());
    let kept: Vec<_> = asked.filter(|oid| copied.contains(oid)).collect();
    match (kept.as_slice(), dropped) {
        (kept, []) => format!("{} as in the CSR", listed(kept)),
        ([], dropped) => format!("none of the CSR's: {} dropped", listed(dropped)),
        (kept, dropped) => format!(
            "{} as in the CSR; {} dropped",
            listed(kept),
            listed(dropped)
        ),
    }
}

fn in_words(key: FlagSet<KeyUsages>, purposes: &[Oid]) -> String {
    let bits = key.into_iter().map(Usage::Key);
    let purposes = purposes.iter().cloned().map(Usage::Extended);
    let words: Vec<_> = bits
        .chain(purposes)
        .filter_map(|usage| match (usage.word(), &usage) {
            (Some(word), _) => Some(word.to_owned()),
            (None, Usage::Extended(oid)) => Some(oid.to_string()),
            (None, Usage::Key(_)) => None,
        })
        .collect();
    match words.as_slice() {
        [] => "none".to_owned(),
        words => words.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::{Limits, Rules, testing::*};

    fn lines(rules: Rules, request: &Request, key: &TestKey, wanted: &Wanted<'_>) -> Vec<String> {
        let profile = Profile::new(rules, Limits::default()).unwrap();
        let csr = VerifiedCsr::parse(request.pem(key).as_bytes()).unwrap();
        let line = |decision: RuleDecision| match decision.verdict {
            Ok(admitted) => format!("{}: {admitted}", decision.rule),
            Err(refusal) => format!("{}: {}", decision.rule, refusal.reason()),
        };
        profile
            .explain(&csr, wanted)
            .into_iter()
            .map(line)
            .collect()
    }

    #[test]
    fn every_decision_about_an_admitted_request_is_explained() {
        let key = TestKey::p256();
        let request =
            Request::new("a.example", &key).names(&[(DNS, b"a.example"), (IP, &[10, 0, 0, 1])]);
        let usages = words(&["digital signature", "key encipherment", "server auth"]);
        assert_eq!(
            lines(Rules::default(), &request, &key, &wanting(&usages)),
            [
                "keys: ECDSA P-256 key",
                "ca: a leaf certificate",
                "usages: digital signature, key encipherment, server auth",
                "subject: CN=a.example, as in the CSR",
                "sans: 2 names",
                "sans: the syntax of every name",
                "sans: DNS name \"a.example\"",
                "sans: IP address 10.0.0.1",
                "sans: DNS name \"a.example\" of the subject's common name",
                "usages: only the key usages digital signature; ECDSA P-256 keys cannot have the others",
                "validity: 2160h, the profile's default; the window begins 1m before now",
            ]
        );
    }

    #[test]
    fn the_outcome_for_every_extension_of_the_csr_is_explained() {
        let key = TestKey::p256();
        let request = || Request::new("leaf", &key).extension(oid("1.2.3"), b"a");
        let told = |rules: &Rules, request: &Request| {
            let lines = lines(rules.clone(), request, &key, &DEFAULT);
            let told = lines
                .into_iter()
                .filter(|line| line.starts_with("extensions"));
            told.collect::<Vec<_>>()
        };
        let mut rules = Rules::default();
        assert_eq!(
            told(&rules, &request()),
            ["extensions: none of the CSR's: 1.2.3 dropped"]
        );
        let critical = request().critical_extension(oid("1.2.4"), b"b");
        assert_eq!(
            told(&rules, &critical),
            ["extensions: extension-not-allowed"]
        );
        rules.extensions.from_csr = vec![large_oid("1.2.4"), large_oid("1.2.5")];
        assert_eq!(
            told(&rules, &critical),
            ["extensions: 1.2.4 as in the CSR; 1.2.3 dropped"]
        );
        rules.extensions.from_csr.push(large_oid("1.2.3"));
        assert_eq!(
            told(&rules, &critical),
            ["extensions: 1.2.3, 1.2.4 as in the CSR"]
        );
        assert_eq!(told(&rules, &Request::new("leaf", &key)), [""; 0]);
    }

    #[test]
    fn decisions_after_a_refusal_are_still_explained() {
        let key = TestKey::p256();
        let mut rules = Rules::default();
        rules.keys.p256 = false;
        rules.names.allowed.dns = Some(vec!["a.example".parse().unwrap()]);
        let request = Request::new("leaf", &key).names(&[(DNS, b"b.example"), (DNS, b"a.example")]);
        let unknown = words(&["servers"]);
        assert_eq!(
            lines(rules, &request, &key, &wanting(&unknown)),
            [
                "keys: unsupported-key",
                "ca: a leaf certificate",
                "usages: usage-not-allowed",
                "subject: CN=leaf, as in the CSR",
                "sans: 2 names",
                "sans: the syntax of every name",
                "sans: san-not-allowed",
                "sans: DNS name \"a.example\"",
                "validity: 2160h, the profile's default; the window begins 1m before now",
            ]
        );
    }
}
