//! The names of a grant as name constraints of a CA certificate, in the form that verifiers obey.

use super::{
    AllowedNames,
    constraint::{Constraint, Constraints, DnsSubtree, EmailSubtree, HostSubtree},
};
use crate::issuance::{
    pattern::{
        DnsPattern, EmailPattern, IpNetwork, OfHost, PatternError, Scope, UriPattern, Variables, is_below,
    },
    refusal::{Refusal, RefusalReason},
};

/// A subtree that holds no name that anybody uses (RFC 6761, section 6.4). An empty excluded subtree of e-mail or URI
/// names would say the same, and OpenSSL does not obey it.
const NOTHING: &str = "invalid";

/// Every address of both families.
const EVERY_ADDRESS: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The constraints that keep every certificate below a CA within the names that its grant allows.
///
/// A type without a pattern permits nothing. `*.x` becomes the subtree `x`, which holds `x` itself too; a name alone
/// becomes its subtree less all that is below. Of a URI pattern verifiers see the host, so one with a path cannot be said.
///
/// # Errors
///
/// A pattern that no constraint can say.
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
        // No verifier compares them.
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
        let mut permitted = Vec::new();
        for scope in &scopes {
            match scope {
                Scope::Any => {}
                Scope::Below(base) => permitted.push(subtree(base, Constraint::Dns)?),
                Scope::Exact(name) => {
                    let held = scopes.iter().any(|other| {
                        matches!(other, Scope::Below(base)
                            if name.eq_ignore_ascii_case(base) || is_below(name, base))
                    });
                    if !held {
                        permitted.push(subtree(name, Constraint::Dns)?);
                        self.excluded
                            .push(subtree(&format!(".{name}"), Constraint::Dns)?);
                    }
                }
            }
        }
        if permitted.is_empty() {
            permitted.push(subtree::<DnsSubtree>(NOTHING, Constraint::Dns)?);
        }
        self.permitted.append(&mut permitted);
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
                OfHost::All(host) => hosts.push(subtree::<HostSubtree>(&host, Constraint::Uri)?),
                OfHost::Some => return Err(unsayable("URI", &pattern.to_string())),
            }
        }
        if hosts.is_empty() {
            hosts.push(subtree::<HostSubtree>(NOTHING, Constraint::Uri)?);
        }
        self.permitted.append(&mut hosts);
        Ok(())
    }

    fn email(
        &mut self,
        patterns: &[EmailPattern],
        variables: Variables<'_>,
    ) -> Result<(), Refusal> {
        let mut permitted = patterns
            .iter()
            .filter_map(|pattern| pattern.mailboxes(variables))
            .map(|mailboxes| subtree::<EmailSubtree>(&mailboxes, Constraint::Email))
            .collect::<Result<Vec<_>, _>>()?;
        if permitted.is_empty() {
            permitted.push(subtree::<EmailSubtree>(NOTHING, Constraint::Email)?);
        }
        self.permitted.append(&mut permitted);
        Ok(())
    }
}

fn subtree<T: std::str::FromStr<Err = PatternError>>(
    text: &str,
    kind: impl FnOnce(T) -> Constraint,
) -> Result<Constraint, Refusal> {
    text.parse()
        .map(kind)
        .map_err(|error| unsayable("name", &error.to_string()))
}

fn unsayable(kind: &str, pattern: &str) -> Refusal {
    Refusal::new(
        RefusalReason::CaNameConstraints,
        format!(
            "the token's grant allows the {kind} {pattern}, which no name constraint of a CA certificate can say; have the operator grant CA certificates without it"
        ),
    )
}
