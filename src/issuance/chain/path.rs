//! Finds paths in a bundle in any order (RFC 4158). The bundle may contain cross-certificates, certificates of old and new
//! keys of one name, and roots in the middle.

use std::collections::BTreeSet;

use super::{ChainError, IssuerCertificate, Verifies, links::Links};

/// Returns the place of the issuing certificate: the first one given, unless it signed another of them; then the first of
/// those that signed none. Returns `None` if those belong to several authorities, because the choice is then ambiguous.
pub(super) fn issuing(links: &Links) -> Option<usize> {
    let signed_another = |signer: usize| {
        let mut others = links.given();
        others.any(|other| !links.are_twins(other, signer) && links.signed(signer, other))
    };
    let first = links.given().next()?;
    if !signed_another(first) {
        return Some(first);
    }
    let mut lowest = links.given().filter(|&place| !signed_another(place));
    let chosen = lowest.next()?;
    lowest
        .all(|other| links.are_twins(other, chosen))
        .then_some(chosen)
}

/// Where a path ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// At a trust anchor, because roots were given.
    Anchor,
    /// At a self-signed certificate.
    SelfSigned,
    /// At a certificate that no other certificate of the bundle signed, because the bundle has no root.
    Top,
    /// Anywhere, because the bundle has no root, and its authorities certify each other.
    Anywhere,
}

impl Goal {
    /// Returns the goal of a bundle without trust anchors.
    pub(super) fn of(links: &Links, issuing: usize) -> Self {
        let steps = climb(links, issuing, |_, _| true);
        let goals = [Self::SelfSigned, Self::Top];
        let reached = |goal: &Self| steps.iter().any(|step| goal.is_reached(links, step.place));
        goals.into_iter().find(reached).unwrap_or(Self::Anywhere)
    }

    fn is_reached(self, links: &Links, place: usize) -> bool {
        match self {
            Self::Anchor => links.is_anchored(place),
            Self::SelfSigned => links
                .get(place)
                .is_some_and(IssuerCertificate::is_self_signed),
            Self::Top => links.signers(place).is_empty(),
            Self::Anywhere => true,
        }
    }
}

/// A certificate on a path upwards, and the one below it that it signed.
struct Step {
    place: usize,
    /// The index of the step below.
    below: Option<usize>,
    length: usize,
    /// How many certificates of the path up to here count against a path length above (RFC 5280, section 4.2.1.9).
    authorities: usize,
}

/// Returns the places of the shortest path from the issuing certificate to the goal or, if the bundle has no root, those
/// of the longest path. Of paths with equal length, the one whose certificates end last is taken, then the one given first.
///
/// `may_follow` decides whether a path may use a certificate, given the number of authorities below it.
pub(super) fn shortest(
    links: &Links,
    issuing: usize,
    goal: Goal,
    may_follow: impl Fn(&IssuerCertificate, usize) -> bool,
) -> Option<Vec<usize>> {
    if !may_follow(links.get(issuing)?, 0) {
        return None;
    }
    let steps = climb(links, issuing, may_follow);
    let reached = |step: &&Step| goal.is_reached(links, step.place);
    let length = match goal {
        Goal::Anchor | Goal::SelfSigned => None,
        Goal::Top | Goal::Anywhere => steps.iter().filter(reached).map(|it| it.length).max(),
    };
    let end = steps
        .iter()
        .filter(reached)
        .find(|step| length.is_none_or(|length| step.length == length))?;
    let mut path = vec![end.place];
    let mut below = end.below;
    while let Some(step) = below.and_then(|index| steps.get(index)) {
        path.push(step.place);
        below = step.below;
    }
    path.reverse();
    Some(path)
}

/// Returns every certificate that can be reached from the issuing one, nearest first. Each certificate becomes a step
/// only once, so the search ends even if authorities certify each other.
fn climb(
    links: &Links,
    issuing: usize,
    may_follow: impl Fn(&IssuerCertificate, usize) -> bool,
) -> Vec<Step> {
    let counts = |place| {
        let certificate = links.get(place);
        usize::from(certificate.is_some_and(|it| !it.is_self_issued()))
    };
    let mut steps = vec![Step {
        place: issuing,
        below: None,
        length: 0,
        authorities: counts(issuing),
    }];
    let mut known = BTreeSet::from_iter(links.get(issuing).map(IssuerCertificate::der));
    let mut index = 0;
    while let Some(step) = steps.get(index) {
        let (lower, length, authorities) = (step.place, step.length + 1, step.authorities);
        for &signer in links.signers(lower) {
            let fits = links.get(signer).is_some_and(|it| {
                // An anchor may also be among the given certificates.
                !known.contains(it.der()) && may_follow(it, authorities) && known.insert(it.der())
            });
            if fits {
                steps.push(Step {
                    place: signer,
                    below: Some(index),
                    length,
                    authorities: authorities + counts(signer),
                });
            }
        }
        index += 1;
    }
    steps
}

/// Checks that the goal can be reached, and that every given certificate belongs to a path.
pub(super) fn check(links: &Links, issuing: usize, goal: Goal) -> Result<(), ChainError> {
    let steps = climb(links, issuing, |_, _| true);
    let has_root = |goal| matches!(goal, Goal::Anchor | Goal::SelfSigned);
    let reached = steps.iter().any(|step| goal.is_reached(links, step.place));
    let highest = match reached && has_root(goal) {
        true => None,
        false => Some(highest(links, &steps)?),
    };
    if let Some(stranger) = stranger(links, &steps) {
        return Err(ChainError::NotInChain(stranger.subject_text()));
    }
    match highest {
        Some(highest) if !reached => Err(ChainError::OtherRoot(highest.subject_text())),
        Some(_) | None => Ok(()),
    }
}

/// Returns the certificate at which a chain without a root ends: the highest one.
fn highest<'a>(links: &'a Links, steps: &[Step]) -> Result<&'a IssuerCertificate, ChainError> {
    let length = steps.last().map_or(0, |step| step.length);
    let end = steps.iter().find(|step| step.length == length);
    let place = end.map_or(0, |step| step.place);
    let highest = links.get(place).ok_or(ChainError::NoIssuing)?;
    let mut named = links
        .everywhere()
        .filter(|&signer| links.is_named(signer, place))
        .peekable();
    // If authorities certify each other, the signer of the highest certificate may already be on the path.
    if !highest.is_self_signed()
        && named.peek().is_some()
        && !named.any(|signer| links.signed(signer, place))
    {
        return Err(ChainError::WrongSigner {
            subject: highest.subject_text(),
            issuer: highest.issuer_text(),
        });
    }
    Ok(highest)
}

/// Returns a certificate that does not belong to the chain. A certificate belongs to it if it is a step, or if it
/// signed or is a twin of a certificate that belongs to it.
fn stranger<'a>(links: &'a Links, steps: &[Step]) -> Option<&'a IssuerCertificate> {
    let mut belonging: Vec<usize> = steps.iter().map(|step| step.place).collect();
    let mut others: Vec<usize> = links.given().collect();
    loop {
        let before = others.len();
        others.retain(|&other| {
            let belongs = belonging.iter().any(|&known| {
                links.are_same(known, other)
                    || links.are_twins(known, other)
                    || links.signed(other, known)
            });
            if belongs {
                belonging.push(other);
            }
            !belongs
        });
        if others.len() == before {
            return others.first().and_then(|&other| links.get(other));
        }
    }
}

/// Returns the error of a certificate that is missing from a path only because its name is encoded differently.
pub(super) fn misnamed(
    links: &Links,
    issuing: usize,
    verifies: &mut Verifies<'_>,
) -> Option<ChainError> {
    for step in climb(links, issuing, |_, _| true) {
        let lower = links.get(step.place)?;
        let mut signers = links.given().filter_map(|place| links.get(place));
        let signer = signers.find(|signer| {
            !signer.is_named_as_issuer_of(lower)
                && signer.could_anchor(lower)
                && verifies(signer, lower)
        });
        if let Some(signer) = signer {
            return Some(ChainError::EncodedDifferently {
                subject: lower.subject_text(),
                issuer: signer.subject_text(),
                how: lower.issuer().difference(signer.subject()),
            });
        }
    }
    None
}
