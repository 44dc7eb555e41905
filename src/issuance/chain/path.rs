//! From a bundle in any order to one chain (RFC 4158): the bundle may hold cross-certificates, certificates of old and new
//! keys of one name, and roots in the middle.

use super::{ChainError, IssuerCertificate};

/// Puts the issuing certificate first: the first one given, unless it signed another of them; then the first of those
/// that signed none. `None` where those are of several authorities, so that nobody can tell which is meant.
pub(super) fn issuing(given: &mut Vec<IssuerCertificate>) -> Option<IssuerCertificate> {
    let signed_another = |signer: &IssuerCertificate| {
        given
            .iter()
            .any(|other| !other.is_twin_of(signer) && signer.signed(other))
    };
    let first = given.first()?;
    let index = if signed_another(first) {
        let lowest: Vec<usize> = (0..)
            .zip(&*given)
            .filter(|(_, certificate)| !signed_another(certificate))
            .map(|(index, _)| index)
            .collect();
        let (&index, others) = lowest.split_first()?;
        let chosen = given.get(index)?;
        let twins = |&other: &usize| {
            given
                .get(other)
                .is_some_and(|other| other.is_twin_of(chosen))
        };
        if !others.iter().all(twins) {
            return None;
        }
        index
    } else {
        0
    };
    Some(given.remove(index))
}

/// A certificate on the way up, and the one below it that it signed.
struct Step<'a> {
    certificate: &'a IssuerCertificate,
    below: Option<usize>,
    length: usize,
}

/// The certificates above the issuing one: the shortest way to a given root; where none is given, to any self-signed
/// certificate; where there is none, the longest way. Of ways as long as each other, the one given first.
///
/// Certificates that belong to other ways, as cross-certificates do, are left out; a stranger is an error.
pub(super) fn above(
    issuing: &IssuerCertificate,
    given: &[IssuerCertificate],
    roots: &[IssuerCertificate],
) -> Result<Vec<IssuerCertificate>, ChainError> {
    let steps = climb(issuing, given, roots);
    let is_goal = |step: &Step<'_>| match roots {
        [] => step.certificate.is_self_signed(),
        _ => roots
            .iter()
            .any(|root| root.der() == step.certificate.der()),
    };
    let end = steps.iter().position(is_goal);
    let end = match end {
        Some(end) => end,
        None => highest(&steps, given, roots)?,
    };
    if let Some(stranger) = stranger(&steps, given) {
        return Err(ChainError::NotInChain(stranger.subject_text()));
    }
    let mut above = Vec::new();
    let mut next = Some(end);
    while let Some(step) = next.and_then(|index| steps.get(index)) {
        if step.below.is_some() {
            above.push(step.certificate.clone());
        }
        next = step.below;
    }
    above.reverse();
    Ok(above)
}

/// Every certificate that can be reached from the issuing one, nearest first. Each is a step once, so that authorities
/// that certify each other end too.
fn climb<'a>(
    issuing: &'a IssuerCertificate,
    given: &'a [IssuerCertificate],
    roots: &'a [IssuerCertificate],
) -> Vec<Step<'a>> {
    let mut steps = vec![Step {
        certificate: issuing,
        below: None,
        length: 0,
    }];
    let mut index = 0;
    while let Some(step) = steps.get(index) {
        let (lower, length) = (step.certificate, step.length + 1);
        // A root that is given counts before a certificate of the same key among the others.
        for signer in roots.iter().chain(given) {
            let known = steps
                .iter()
                .any(|step| step.certificate.der() == signer.der());
            if !known && signer.signed(lower) {
                steps.push(Step {
                    certificate: signer,
                    below: Some(index),
                    length,
                });
            }
        }
        index += 1;
    }
    steps
}

/// Where the chain ends when there is no root: as high as it goes.
fn highest(
    steps: &[Step<'_>],
    given: &[IssuerCertificate],
    roots: &[IssuerCertificate],
) -> Result<usize, ChainError> {
    let length = steps.last().map_or(0, |step| step.length);
    let end = steps.iter().position(|step| step.length == length);
    let end = end.unwrap_or_default();
    let lower = steps.get(end).map(|step| step.certificate);
    let Some(lower) = lower.filter(|certificate| !certificate.is_self_signed()) else {
        return Ok(end);
    };
    let named = || {
        given
            .iter()
            .chain(roots)
            .filter(|c| c.is_named_as_issuer_of(lower))
    };
    // Its signer may be on the way already, where authorities certify each other.
    if named().next().is_none() || named().any(|certificate| certificate.signed(lower)) {
        return Ok(end);
    }
    Err(ChainError::WrongSigner {
        subject: lower.subject_text(),
        issuer: lower.issuer_text(),
    })
}

/// A certificate that no way leads to, not even one that begins at another certificate of an authority on the way.
fn stranger<'a>(
    steps: &[Step<'_>],
    given: &'a [IssuerCertificate],
) -> Option<&'a IssuerCertificate> {
    let mut belonging: Vec<&IssuerCertificate> =
        steps.iter().map(|step| step.certificate).collect();
    let mut others: Vec<&IssuerCertificate> = given.iter().collect();
    loop {
        let before = others.len();
        others.retain(|&other| {
            let belongs = belonging.iter().any(|known| {
                known.der() == other.der() || other.is_twin_of(known) || other.signed(known)
            });
            if belongs {
                belonging.push(other);
            }
            !belongs
        });
        if others.len() == before {
            return others.first().copied();
        }
    }
}
