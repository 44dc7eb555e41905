//! Bundles that are complete, and what is missing from the others.

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
