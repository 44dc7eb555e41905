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
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
        CrlIssuingDistributionPoint, CrlScope, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
        KeyUsagePurpose, SerialNumber, date_time_ymd,
    };

    use super::*;

    struct Ca {
        issuer: Issuer<'static, KeyPair>,
        pem: String,
    }

    fn ca(name: &str, above: Option<&Ca>) -> Ca {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = match above {
            Some(above) => params.signed_by(&key, &above.issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Ca {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Returns a CRL of this CA in PEM that ends in this year.
    fn crl(of: &Ca, ends: i32, part: bool) -> String {
        let point = CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec!["http://a.example/0.crl".to_owned()],
            },
            scope: None::<CrlScope>,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(ends - 1, 1, 1),
            next_update: date_time_ymd(ends, 1, 1),
            crl_number: SerialNumber::from(u64::try_from(ends).unwrap()),
            issuing_distribution_point: part.then_some(point),
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&of.issuer).unwrap().pem().unwrap()
    }

    fn given(content: &str) -> OthersCrl {
        OthersCrl {
            place: "ConfigMap shop/crls".to_owned(),
            content: Ok(content.as_bytes().to_vec()),
        }
    }

    fn bundle_of(
        chain: &IssuerChain,
        parents: &[OthersCrl],
        children: &[OthersCrl],
    ) -> Result<String, String> {
        let inputs = BundleInputs::new(chain, parents, children);
        let own = ("OWN\n".to_owned(), at("2027-01-01T00:00:00Z"));
        ChainCrls::verify(inputs, chain, parents, children)
            .bundle(Some(own), at("2026-06-01T00:00:00Z"))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_bundle_has_the_crl_of_every_ca_or_is_not_made_and_names_what_is_missing() {
        let root = ca("root", None);
        let middle = ca("middle", Some(&root));
        let issuing = ca("issuing", Some(&middle));
        let mesh = ca("mesh", Some(&issuing));
        let stranger = ca("stranger", None);
        let pem = [&issuing, &middle, &root]
            .map(|ca| ca.pem.as_str())
            .concat();
        let chain = IssuerChain::parse(pem.as_bytes(), None).unwrap();
        let [of_root, of_middle, of_mesh] = [&root, &middle, &mesh].map(|ca| crl(ca, 2027, false));
        let child = given(&(mesh.pem.clone() + &of_mesh));

        let whole = bundle_of(
            &chain,
            &[given(&of_root), given(&of_middle)],
            std::slice::from_ref(&child),
        );
        let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        let expected = ["OWN\n", &of_middle, &of_root, &of_mesh]
            .map(lines)
            .concat();
        assert_eq!(lines(&whole.unwrap()), expected);

        let fails = |parents: &[OthersCrl], children: &[OthersCrl]| {
            bundle_of(&chain, parents, children).unwrap_err()
        };
        assert_eq!(
            fails(&[given(&of_root)], &[]),
            "the CRL of CN=middle is missing"
        );
        let both = of_root.clone() + &of_middle;
        assert!(bundle_of(&chain, &[given(&both)], &[]).is_ok());
        // The newest CRL counts, and it must not have ended.
        let old = crl(&middle, 2026, false);
        assert_eq!(
            fails(&[given(&of_root), given(&old)], &[]),
            "the CRL of CN=middle has ended at 2026-01-01T00:00:00Z"
        );
        assert!(bundle_of(&chain, &[given(&both), given(&old)], &[]).is_ok());
        // A CRL of another key, or of a part of the certificates, is none of this CA.
        let part = crl(&middle, 2027, true);
        let foreign = crl(&stranger, 2027, false);
        assert_eq!(
            fails(&[given(&of_root), given(&part), given(&foreign)], &[]),
            "the CRL of CN=middle is missing"
        );
        // A sub-CA needs its certificate, and must be below this chain.
        let problem = fails(&[given(&both)], &[given(&of_mesh)]);
        assert_eq!(
            problem,
            "ConfigMap shop/crls: the certificate of the CA must be beside its CRL"
        );
        let alien = given(&(stranger.pem.clone() + &foreign));
        assert!(fails(&[given(&both)], &[alien]).starts_with("ConfigMap shop/crls: "));
        assert_eq!(
            fails(&[given(&both)], &[given(&mesh.pem)]),
            "the CRL of CN=mesh is missing"
        );
        let unread = OthersCrl {
            content: Err("no such key".to_owned()),
            ..child
        };
        assert_eq!(
            fails(&[given(&both)], &[unread]),
            "ConfigMap shop/crls: no such key"
        );
    }

    #[test]
    fn without_its_own_crl_or_with_too_many_octets_there_is_no_bundle() {
        let root = ca("root", None);
        let chain = IssuerChain::parse(root.pem.as_bytes(), None).unwrap();
        let inputs = BundleInputs::new(&chain, &[], &[]);
        let verified = ChainCrls::verify(inputs, &chain, &[], &[]);
        let (now, end) = (at("2026-06-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        let with =
            |own: Option<usize>| verified.bundle(own.map(|octets| ("x".repeat(octets), end)), now);
        assert_eq!(with(None).unwrap_err(), "the CRL of this CA is missing");
        assert!(with(Some(BUNDLE_OCTETS)).is_ok());
        assert!(
            with(Some(BUNDLE_OCTETS + 1))
                .unwrap_err()
                .contains("fit into a ConfigMap")
        );
    }

    #[test]
    fn the_inputs_differ_when_anything_of_them_does() {
        let chain = IssuerChain::parse(ca("root", None).pem.as_bytes(), None).unwrap();
        let other = IssuerChain::parse(ca("root", None).pem.as_bytes(), None).unwrap();
        let (one, two) = (given("one"), given("two"));
        let new = |chain, parents: &[&OthersCrl], children: &[&OthersCrl]| {
            let cloned =
                |crls: &[&OthersCrl]| -> Vec<_> { crls.iter().map(|one| (*one).clone()).collect() };
            BundleInputs::new(chain, &cloned(parents), &cloned(children))
        };
        let all = [
            new(&chain, &[], &[]),
            new(&other, &[], &[]),
            new(&chain, &[&one], &[]),
            new(&chain, &[], &[&one]),
            new(&chain, &[&two], &[]),
            new(&chain, &[&one, &two], &[]),
            new(&chain, &[&one], &[&two]),
        ];
        for (place, inputs) in all.iter().enumerate() {
            assert!(all.iter().skip(place + 1).all(|other| other != inputs));
        }
        assert_eq!(new(&chain, &[&one], &[]), all[2]);
    }
}
