//! Translates the names of a grant into name constraints of a CA certificate, in a form that verifiers enforce.

use std::str::FromStr;

use super::{
    AllowedNames,
    constraint::{Constraint, Constraints},
};
use crate::issuance::{
    pattern::{
        DnsPattern, EmailPattern, IpNetwork, OfHost, PatternError, Scope, UriPattern, Variables,
        is_below,
    },
    refusal::{Refusal, RefusalReason},
};

/// A subtree that contains no name in use (RFC 6761, section 6.4). An empty excluded subtree of e-mail or URI names would
/// mean the same, but OpenSSL does not enforce it.
const NOTHING: &str = "invalid";

/// Every address of both families.
const EVERY_ADDRESS: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Returns the constraints that keep every certificate below a CA within the names that its grant allows.
///
/// A type without a pattern permits nothing. `*.x` becomes the subtree `x`, which also contains `x` itself. A single name
/// becomes its subtree, with everything below it excluded.
///
/// # Errors
///
/// A pattern that name constraints cannot express: a URI pattern with a path, because verifiers compare only the host, or a
/// single name together with a name below it.
pub(super) fn constraints(
    names: &AllowedNames,
    variables: Variables<'_>,
) -> Result<Constraints, Refusal> {
    let mut fence = Constraints::default();
    let AllowedNames {
        dns,
        ip,
        uri,
        email,
        // No verifier compares an `otherName` with name constraints.
        other_names: _,
    } = names;
    if let Some(patterns) = dns {
        fence.dns(patterns, variables)?;
    }
    if let Some(networks) = ip {
        fence.ip(networks)?;
    }
    if let Some(patterns) = uri {
        fence.uri(patterns, variables)?;
    }
    if let Some(patterns) = email {
        fence.email(patterns, variables)?;
    }
    Ok(fence)
}

impl Constraints {
    fn dns(&mut self, patterns: &[DnsPattern], variables: Variables<'_>) -> Result<(), Refusal> {
        let scopes: Vec<_> = patterns
            .iter()
            .filter_map(|pattern| pattern.scope(variables))
            .collect();
        if scopes.contains(&Scope::Any) {
            return Ok(());
        }
        let bases: Vec<&str> = scopes
            .iter()
            .filter_map(|scope| match scope {
                Scope::Any => None,
                Scope::Below(base) | Scope::Exact(base) => Some(&**base),
            })
            .collect();
        for scope in &scopes {
            match scope {
                Scope::Any => {}
                Scope::Below(base) => self.permitted.push(subtree(base, Constraint::Dns)?),
                Scope::Exact(name) => {
                    let held = scopes.iter().any(|other| {
                        matches!(other, Scope::Below(base)
                            if name.eq_ignore_ascii_case(base) || is_below(name, base))
                    });
                    if !held {
                        self.alone(name, &bases, Constraint::Dns)?;
                    }
                }
            }
        }
        if bases.is_empty() {
            self.nothing(Constraint::Dns)?;
        }
        Ok(())
    }

    fn ip(&mut self, networks: &[IpNetwork]) -> Result<(), Refusal> {
        if networks.is_empty() {
            for every in EVERY_ADDRESS {
                self.excluded.push(subtree(every, Constraint::Ip)?);
            }
        }
        let networks = networks.iter().copied().map(Constraint::Ip);
        self.permitted.extend(networks);
        Ok(())
    }

    fn uri(&mut self, patterns: &[UriPattern], variables: Variables<'_>) -> Result<(), Refusal> {
        let mut hosts = Vec::new();
        for pattern in patterns {
            match pattern.host(variables) {
                OfHost::Nothing => {}
                OfHost::All(host) => hosts.push(host),
                OfHost::Some => return Err(unsayable(&format!("the URI {pattern}"))),
            }
        }
        let all: Vec<&str> = hosts.iter().map(String::as_str).collect();
        for host in &all {
            self.alone(host, &all, Constraint::Uri)?;
        }
        if all.is_empty() {
            self.nothing(Constraint::Uri)?;
        }
        Ok(())
    }

    fn email(
        &mut self,
        patterns: &[EmailPattern],
        variables: Variables<'_>,
    ) -> Result<(), Refusal> {
        let all: Vec<_> = patterns
            .iter()
            .filter_map(|pattern| pattern.mailboxes(variables))
            .collect();
        let hosts: Vec<&str> = all
            .iter()
            .map(|mailboxes| mailboxes.rsplit('@').next().unwrap_or_default())
            .collect();
        for mailboxes in &all {
            if mailboxes.contains('@') {
                let mailbox = subtree(mailboxes, Constraint::Email)?;
                self.permitted.push(mailbox);
            } else {
                self.alone(mailboxes, &hosts, Constraint::Email)?;
            }
        }
        if all.is_empty() {
            self.nothing(Constraint::Email)?;
        }
        Ok(())
    }

    /// Permits a host and excludes the hosts below it. For URIs and e-mail addresses the exclusion is redundant by RFC 5280,
    /// section 4.2.1.10, but Go permits the hosts below too.
    fn alone<T: FromStr<Err = PatternError>>(
        &mut self,
        host: &str,
        others: &[&str],
        kind: fn(T) -> Constraint,
    ) -> Result<(), Refusal> {
        if let Some(below) = others.iter().find(|other| is_below(other, host)) {
            return Err(unsayable(&format!("{host} alone and {below} below it")));
        }
        self.permitted.push(subtree(host, kind)?);
        self.excluded.push(subtree(&format!(".{host}"), kind)?);
        Ok(())
    }

    fn nothing<T: FromStr<Err = PatternError>>(
        &mut self,
        kind: fn(T) -> Constraint,
    ) -> Result<(), Refusal> {
        self.permitted.push(subtree(NOTHING, kind)?);
        Ok(())
    }
}

fn subtree<T: FromStr<Err = PatternError>>(
    text: &str,
    kind: impl FnOnce(T) -> Constraint,
) -> Result<Constraint, Refusal> {
    text.parse()
        .map(kind)
        .map_err(|error| unsayable(&error.to_string()))
}

fn unsayable(what: &str) -> Refusal {
    Refusal::new(
        RefusalReason::CaNameConstraints,
        format!(
            "the token's grant allows {what}, which the name constraints of a CA certificate cannot express; ask the operator to grant CA certificates without it"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(dns: &[&str], uri: &[&str], email: &[&str]) -> Result<[Vec<String>; 2], String> {
        let names = AllowedNames {
            dns: Some(dns.iter().map(|text| text.parse().unwrap()).collect()),
            ip: None,
            uri: Some(uri.iter().map(|text| text.parse().unwrap()).collect()),
            email: Some(email.iter().map(|text| text.parse().unwrap()).collect()),
            other_names: Vec::new(),
        };
        let variables = Variables {
            namespace: Some("shop"),
            name: "a/b@c",
        };
        let text = |all: &[Constraint]| all.iter().map(ToString::to_string).collect();
        constraints(&names, variables)
            .map(|fence| [text(&fence.permitted), text(&fence.excluded)])
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn each_pattern_becomes_name_constraints() {
        let [permitted, excluded] = fence(
            &["*.a.example", "b.a.example", "{{namespace}}.example"],
            &["spiffe://td/*"],
            &["*@a.example", "ops@b.example", "{{name}}@c.example"],
        )
        .unwrap();
        let expected = [
            r#"DNS "a.example""#,
            r#"DNS "shop.example""#,
            r#"URI host "td""#,
            r#"e-mail "a.example""#,
            r#"e-mail "ops@b.example""#,
        ];
        assert_eq!(permitted, expected);
        let expected = [
            r#"DNS ".shop.example""#,
            r#"URI host ".td""#,
            r#"e-mail ".a.example""#,
        ];
        assert_eq!(excluded, expected);
    }

    #[test]
    fn a_type_whose_patterns_cover_nothing_permits_nothing() {
        let [permitted, excluded] = fence(&[], &["spiffe://td/{{name}}/*"], &[]).unwrap();
        let expected = [
            r#"DNS "invalid""#,
            r#"URI host "invalid""#,
            r#"e-mail "invalid""#,
        ];
        assert_eq!(permitted, expected);
        assert!(excluded.is_empty());
    }

    #[test]
    fn a_pattern_that_name_constraints_cannot_express_is_refused_and_named() {
        for (dns, uri, email, named) in [
            (
                &[][..],
                &["spiffe://td/ns/*"][..],
                &[][..],
                "spiffe://td/ns/*",
            ),
            (&[], &["spiffe://td/"], &[], "spiffe://td/"),
            (&["a.example", "b.a.example"], &[], &[], "b.a.example"),
            (&["a.example", "*.b.a.example"], &[], &[], "b.a.example"),
            (&[], &["https://td/*", "https://a.td/*"], &[], "a.td"),
            (&[], &[], &["*@a.example", "ops@b.a.example"], "b.a.example"),
        ] {
            let why = fence(dns, uri, email).unwrap_err();
            assert!(why.contains(named), "{why}");
        }
    }
}
