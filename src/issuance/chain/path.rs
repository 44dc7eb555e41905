//! Builds one chain from a bundle in any order (RFC 4158). The bundle may contain cross-certificates, certificates of
//! old and new keys of one name, and roots in the middle.

use super::{ChainError, IssuerCertificate, links::Links};

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

/// A certificate on a path upwards, and the one below it that it signed.
struct Step {
    place: usize,
    /// The index of the step below.
    below: Option<usize>,
    length: usize,
}

/// Returns the places of the certificates above the issuing one, on the shortest path to a root.
///
/// The root is a trust anchor if `anchor_is_demanded`, otherwise any self-signed certificate. Without a root, the
/// longest path is taken. Of paths with equal length, the one given first is taken.
///
/// Certificates of other paths, such as cross-certificates, are left out. A certificate that is on no path is an error.
pub(super) fn above(
    links: &Links,
    issuing: usize,
    anchor_is_demanded: bool,
) -> Result<Vec<usize>, ChainError> {
    let steps = climb(links, issuing);
    let is_goal = |step: &Step| {
        if anchor_is_demanded {
            let mut anchors = links.anchors();
            anchors.any(|anchor| links.are_same(anchor, step.place))
        } else {
            let certificate = links.get(step.place);
            certificate.is_some_and(IssuerCertificate::is_self_signed)
        }
    };
    let end = match steps.iter().position(is_goal) {
        Some(end) => end,
        None => highest(links, &steps)?,
    };
    if let Some(stranger) = stranger(links, &steps) {
        return Err(ChainError::NotInChain(stranger.subject_text()));
    }
    let mut above = Vec::new();
    let mut next = steps.get(end);
    while let Some(step) = next {
        next = step.below.and_then(|below| steps.get(below));
        if next.is_some() {
            above.push(step.place);
        }
    }
    above.reverse();
    Ok(above)
}

/// Returns every certificate that can be reached from the issuing one, nearest first. Each certificate becomes a step
/// only once, so the search ends even if authorities certify each other.
fn climb(links: &Links, issuing: usize) -> Vec<Step> {
    let mut steps = vec![Step {
        place: issuing,
        below: None,
        length: 0,
    }];
    let mut index = 0;
    while let Some(step) = steps.get(index) {
        let (lower, length) = (step.place, step.length + 1);
        // An anchor is preferred to a given certificate with the same key, and no certificate is above an anchor.
        let candidates = links.anchors().chain(links.given());
        for signer in candidates.filter(|_| !links.is_anchor(lower)) {
            let known = steps.iter().any(|step| links.are_same(step.place, signer));
            if !known && links.signed(signer, lower) {
                steps.push(Step {
                    place: signer,
                    below: Some(index),
                    length,
                });
            }
        }
        index += 1;
    }
    steps
}

/// Returns the step at which a chain without a root ends: the highest one.
fn highest(links: &Links, steps: &[Step]) -> Result<usize, ChainError> {
    let length = steps.last().map_or(0, |step| step.length);
    let end = steps.iter().position(|step| step.length == length);
    let end = end.unwrap_or_default();
    let Some(place) = steps.get(end).map(|step| step.place) else {
        return Ok(end);
    };
    let lower = links.get(place).filter(|lower| !lower.is_self_signed());
    let mut named = links
        .given()
        .chain(links.anchors())
        .filter(|&signer| links.is_named(signer, place))
        .peekable();
    match lower {
        // If authorities certify each other, the signer of the highest certificate may already be on the path.
        Some(lower)
            if named.peek().is_some() && !named.any(|signer| links.signed(signer, place)) =>
        {
            Err(ChainError::WrongSigner {
                subject: lower.subject_text(),
                issuer: lower.issuer_text(),
            })
        }
        Some(_) | None => Ok(end),
    }
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
