//! Certificates of an issuer with CRLs.

use const_oid::db::rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS;

use super::*;
use crate::issuance::crl::{CaId, CrlRules};

/// The octets of the extension cRLDistributionPoints with these points.
fn points(points: &[&[&str]]) -> Vec<u8> {
    let point = |urls: &&[&str]| {
        let names: Vec<u8> = urls
            .iter()
            .flat_map(|url| tlv(URI, url.as_bytes()))
            .collect();
        sequence(&[&tlv(0xa0, &tlv(0xa0, &names))])
    };
    let points: Vec<u8> = points.iter().flat_map(point).collect();
    extension(ID_CE_CRL_DISTRIBUTION_POINTS, false, &tlv(0x30, &points))
}

fn contains(tbs: &[u8], part: &[u8]) -> bool {
    tbs.windows(part.len()).any(|window| window == part)
}

#[test]
fn every_certificate_names_the_crl_of_its_shard_before_the_urls_of_the_profile() {
    let root = Authority::root("root");
    let ca = CaId::of(root.chain().issuing());
    let key = TestKey::p256();
    let tbs = |url: Option<&str>, others: &[&str], shards: u16, serial: [u8; 16], is_ca: bool| {
        let mut rules = Rules::default();
        rules.ca.allow = true;
        rules
            .usages
            .allowed
            .extend(crate::issuance::usage::Usage::parse("cert sign"));
        rules.extensions.crl = others.iter().map(|url| url.parse().unwrap()).collect();
        let limits = Limits {
            ca: crate::issuance::profile::CaLimits {
                allow: true,
                max_path_length: None,
            },
            ..Limits::default()
        };
        let profile = Profile::new(rules, limits).unwrap();
        let crl = CrlRules::new(
            SignedDuration::from_hours(24),
            None,
            url.map(|url| url.parse().unwrap()),
            shards.try_into().unwrap(),
        );
        let issuer = Issuer::new(root.chain(), profile, None).unwrap();
        let issuer = Arc::new(issuer.with_crl(crl.unwrap()).unwrap());
        let csr = VerifiedCsr::parse(leaf(&key).pem(&key).as_bytes()).unwrap();
        let usages = words(if is_ca { &["cert sign"] } else { &[] });
        let wanted = Wanted {
            is_ca,
            ..wanting(&usages)
        };
        let params = issuer.profile().admit(&csr, &wanted).unwrap();
        let serial = Serial::from_random(serial);
        PreparedCertificate::prepare(&params, &issuer, now(), serial)
            .unwrap()
            .tbs
    };
    let url = Some("http://a.example/crl");
    let shard = |number| format!("http://a.example/crl/{ca}/{number}.crl");
    for is_ca in [false, true] {
        let one = tbs(url, &[], 1, SERIAL, is_ca);
        assert!(contains(&one, &points(&[&[&shard(0)]])));
        // Of four shards, this serial number is in the third.
        let third = tbs(url, &[], 4, [0x5c; 16], is_ca);
        assert!(contains(&third, &points(&[&[&shard(2)]])));
        let others = ["http://b.example/a.crl", "http://c.example/a.crl"];
        let both = tbs(url, &others, 1, SERIAL, is_ca);
        assert!(contains(&both, &points(&[&[&shard(0)], &others])));
        let only_others = tbs(None, &others, 1, SERIAL, is_ca);
        assert!(contains(&only_others, &points(&[&others])));
    }
    let none = tbs(None, &[], 1, SERIAL, false);
    assert!(!contains(&none, &oid_der(ID_CE_CRL_DISTRIBUTION_POINTS)));
}
