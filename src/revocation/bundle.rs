//! The bundle of CRLs for meshes: one of every CA of a chain, in PEM, complete or not made at all. Pure.
//!
//! Istio reads such a bundle as `ca-crl.pem` and ignores one that lacks the CRL of a CA of its chain.

use aws_lc_rs::digest::{Context, SHA256, digest};
use jiff::Timestamp;

use crate::{
    issuance::{
        IssuerCertificate, IssuerChain,
        crl::{CrlScope, ReadCrl},
        pem,
    },
    telemetry::ErrorChain,
};

/// Label of a certificate in PEM.
const CERTIFICATE: &[u8] = b"CERTIFICATE";
/// Most octets of one bundle. A ConfigMap holds 1 MiB.
const BUNDLE_OCTETS: usize = 1_000_000;

/// Hash of everything that a [`ChainCrls`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleInputs(Vec<u8>);

/// CRLs that others make, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OthersCrl {
    /// Where they are, for people.
    pub place: String,
    /// PEM, or the DER of one CRL; an error if it could not be read.
    pub content: Result<Vec<u8>, String>,
}

/// The CAs whose CRLs a bundle must have, and those CRLs that others make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainCrls {
    inputs: BundleInputs,
    others: Vec<OthersCa>,
    /// What is wrong with the given CRLs.
    problems: Vec<String>,
}

/// A CA whose CRLs others make.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OthersCa {
    subject: String,
    /// The newest CRL that verifies, and its end.
    crl: Option<(String, Timestamp)>,
}

/// State of a bundle, for the status of its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleState {
    /// It has the CRL of every CA.
    Complete,
    /// It is not published, because of this.
    Incomplete(String),
}

impl BundleInputs {
    /// Hashes a chain and the CRLs beside it.
    #[must_use]
    pub fn new(chain: &IssuerChain, parents: &[OthersCrl], children: &[OthersCrl]) -> Self {
        let mut hash = Context::new(&SHA256);
        for certificate in chain.certificates() {
            hash.update(&certificate.sha256());
        }
        for (kind, crls) in [(b"p", parents), (b"c", children)] {
            for OthersCrl { place, content } in crls {
                let content = match content {
                    Ok(octets) => octets.as_slice(),
                    Err(why) => why.as_bytes(),
                };
                hash.update(kind);
                hash.update(digest(&SHA256, place.as_bytes()).as_ref());
                hash.update(digest(&SHA256, content).as_ref());
            }
        }
        Self(hash.finish().as_ref().to_vec())
    }
}

impl ChainCrls {
    /// Returns what it is made of.
    pub(super) const fn inputs(&self) -> &BundleInputs {
        &self.inputs
    }

    /// Verifies the CRLs of the CAs above the issuing one, `parents`, and of sub-CAs, `children`. Beside the CRL of a sub-CA there
    /// must be its certificate, which the chain must have issued. Costs processor time.
    #[must_use]
    pub fn verify(
        inputs: BundleInputs,
        chain: &IssuerChain,
        parents: &[OthersCrl],
        children: &[OthersCrl],
    ) -> Self {
        let mut problems = Vec::new();
        let mut crls = Vec::new();
        let mut below: Vec<IssuerChain> = Vec::new();
        for (given, may_have_cas) in parents
            .iter()
            .map(|given| (given, false))
            .chain(children.iter().map(|given| (given, true)))
        {
            match read(given, chain, may_have_cas) {
                Ok((read, cas)) => {
                    crls.extend(read);
                    below.extend(cas);
                }
                Err(problem) => problems.push(format!("{}: {problem}", given.place)),
            }
        }
        let above = chain.certificates().skip(1);
        let below = below.iter().map(IssuerChain::issuing);
        let others = above.chain(below).map(|ca| OthersCa {
            subject: ca.subject_text(),
            crl: newest(&crls, ca).map(|crl| (crl.pem(), crl.next_update())),
        });
        Self {
            inputs,
            others: others.collect(),
            problems,
        }
    }

    /// Joins the CRLs. `own` is the CRL of the issuing CA in PEM, with its end, if there is one.
    pub(super) fn bundle(
        &self,
        own: Option<(String, Timestamp)>,
        now: Timestamp,
    ) -> Result<String, String> {
        if let Some(problem) = self.problems.first() {
            return Err(problem.clone());
        }
        let own = OthersCa {
            subject: "this CA".to_owned(),
            crl: own,
        };
        let mut bundle = String::new();
        for ca in std::iter::once(&own).chain(&self.others) {
            match &ca.crl {
                None => return Err(format!("the CRL of {} is missing", ca.subject)),
                Some((_, end)) if *end <= now => {
                    return Err(format!("the CRL of {} has ended at {end}", ca.subject));
                }
                Some((pem, _)) => bundle.push_str(pem),
            }
        }
        if bundle.len() > BUNDLE_OCTETS {
            return Err(format!(
                "it has {} octets, and at most {BUNDLE_OCTETS} fit into a ConfigMap",
                bundle.len()
            ));
        }
        Ok(bundle)
    }
}

/// Returns the newest CRL that this CA made for all its certificates, or for those of CAs.
fn newest<'a>(crls: &'a [ReadCrl], ca: &IssuerCertificate) -> Option<&'a ReadCrl> {
    let whole = |crl: &&ReadCrl| match crl.scope() {
        CrlScope::All | CrlScope::Authorities => !crl.is_partition(),
        CrlScope::EndEntities => false,
    };
    crls.iter()
        .filter(whole)
        .filter(|crl| crl.verify(ca).is_ok())
        .max_by_key(|crl| (crl.this_update(), crl.number()))
}

/// Reads the CRLs of one place, and the chains of the CAs whose certificates are beside them.
fn read(
    given: &OthersCrl,
    chain: &IssuerChain,
    may_have_cas: bool,
) -> Result<(Vec<ReadCrl>, Vec<IssuerChain>), String> {
    let content = given.content.as_ref().map_err(Clone::clone)?;
    if !may_have_cas || content.first() == Some(&0x30) {
        let crls = ReadCrl::parse_either(content);
        return crls
            .map(|crls| (crls, Vec::new()))
            .map_err(|error| ErrorChain(&error).to_string());
    }
    let blocks = pem::scan(content).map_err(|error| ErrorChain(&error).to_string())?;
    let (mut crls, mut cas) = (Vec::new(), Vec::new());
    for block in blocks.blocks {
        if block.label == CERTIFICATE {
            cas.push(child(&block.der, chain)?);
        } else {
            let crl = ReadCrl::parse(&block.der);
            crls.push(crl.map_err(|error| ErrorChain(&error).to_string())?);
        }
    }
    if cas.is_empty() {
        return Err("the certificate of the CA must be beside its CRL".to_owned());
    }
    Ok((crls, cas))
}

/// Reads the certificate of a sub-CA of this chain.
fn child(der: &[u8], chain: &IssuerChain) -> Result<IssuerChain, String> {
    let mut text = pem::encode("CERTIFICATE", der);
    text.extend(chain.certificates().map(IssuerCertificate::pem));
    let parsed = IssuerChain::parse(text.as_bytes(), None);
    let parsed = parsed.map_err(|error| ErrorChain(&error).to_string())?;
    let issued = parsed.issuing().der() == der
        && parsed
            .certificates()
            .any(|above| above.der() == chain.issuing().der());
    issued
        .then_some(parsed)
        .ok_or_else(|| "a certificate is not that of a CA below this chain".to_owned())
}

#[cfg(test)]
mod tests;
