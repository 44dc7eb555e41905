//! CRLs of every shape and by every algorithm, each with the certificates that it is about.

use jiff::{SignedDuration, Timestamp};
use pkcs11_issuer::issuance::{
    SignatureAlgorithm,
    crl::{CaId, CrlNumber, CrlParams, CrlRules, RevocationReason, Revoked, SerialNumber, Shards},
};

use super::{
    authority::{ALGORITHMS, Authority, Issued},
    shapes::{NOW, Shape},
};

/// The serial number of the certificate that is never revoked. Of four shards it is in the first.
const GOOD: [u8; 16] = [0x5a; 16];
/// The serial number of the certificate that most shapes revoke. Of four shards it is in the third.
const BAD: [u8; 16] = [0x5c; 16];

/// The greatest serial numbers of 20 octets, without and with a leading zero.
const LONG: [u8; 20] = [0x7f; 20];
const PADDED: [u8; 17] = [
    0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff,
];

/// An entry: serial number, reason, and the age in hours of an invalidity date.
type Entry = (&'static [u8], RevocationReason, Option<i64>);

/// The contents of a CRL.
#[derive(Clone, Copy)]
pub(super) struct CrlShape {
    pub(super) name: &'static str,
    pub(super) now: i64,
    shards: u16,
    /// The shard whose CRL is golden.
    shard: u16,
    entries: &'static [Entry],
}

impl CrlShape {
    const PLAIN: Self = Self {
        name: "one-entry",
        now: NOW,
        shards: 1,
        shard: 0,
        entries: &[(&BAD, RevocationReason::KeyCompromise, None)],
    };

    fn shards(&self) -> Shards {
        Shards::try_from(self.shards).unwrap()
    }

    /// Returns the reason for which the certificate is revoked.
    fn reason(&self, serial: &[u8]) -> Option<RevocationReason> {
        let mut entries = self.entries.iter();
        entries
            .find(|(listed, ..)| *listed == serial)
            .map(|(_, reason, _)| *reason)
    }
}

pub(super) const CRL_SHAPES: &[CrlShape] = &[
    CrlShape::PLAIN,
    CrlShape {
        name: "no-entry",
        entries: &[],
        ..CrlShape::PLAIN
    },
    CrlShape {
        name: "every-reason",
        entries: &[
            (&[1], RevocationReason::KeyCompromise, None),
            (&[2], RevocationReason::CaCompromise, None),
            (&[3], RevocationReason::AffiliationChanged, None),
            (&[4], RevocationReason::Superseded, None),
            (&[5], RevocationReason::CessationOfOperation, None),
            (&[6], RevocationReason::CertificateHold, None),
            (&[9], RevocationReason::PrivilegeWithdrawn, None),
            (&[10], RevocationReason::AaCompromise, None),
            (&BAD, RevocationReason::Unspecified, None),
        ],
        ..CrlShape::PLAIN
    },
    CrlShape {
        name: "an-invalidity-date",
        entries: &[
            (&[1], RevocationReason::Unspecified, Some(1)),
            (&BAD, RevocationReason::KeyCompromise, Some(1000)),
        ],
        ..CrlShape::PLAIN
    },
    CrlShape {
        name: "serial-numbers-of-any-length",
        entries: &[
            (&LONG, RevocationReason::Superseded, None),
            (&[0, 0x80], RevocationReason::Superseded, None),
            (&PADDED, RevocationReason::Superseded, None),
            (&BAD, RevocationReason::CertificateHold, None),
        ],
        ..CrlShape::PLAIN
    },
    CrlShape {
        name: "of-a-shard",
        shards: 4,
        shard: 2,
        ..CrlShape::PLAIN
    },
    CrlShape {
        name: "of-an-empty-shard",
        shards: 4,
        ..CrlShape::PLAIN
    },
    // 2049-12-31T00:00:00Z: thisUpdate and nextUpdate have different types.
    CrlShape {
        name: "past-2049",
        now: 2_524_521_600,
        ..CrlShape::PLAIN
    },
];

/// A certificate and the CRL of its shard.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) issued: Issued,
    pub(super) crl: Vec<u8>,
    /// The reason for which the CRL lists the certificate.
    pub(super) revoked: Option<RevocationReason>,
    /// CRLs of other shards.
    pub(super) others: Vec<Vec<u8>>,
}

/// Returns the rules of every issuer here that has CRLs.
pub(super) fn rules(shards: u16) -> CrlRules {
    let url = "http://pki.example/crl".parse().unwrap();
    let week = SignedDuration::from_hours(168);
    CrlRules::new(week, None, Some(url), shards.try_into().unwrap()).unwrap()
}

/// Returns the CRL of a shard.
fn crl(authority: &Authority, shape: &CrlShape, shard: u16) -> Vec<u8> {
    let chain = authority.chain();
    let then = Timestamp::from_second(shape.now).unwrap();
    let hours = SignedDuration::from_hours;
    let revoked: Vec<Revoked> = shape
        .entries
        .iter()
        .map(|(serial, reason, age)| {
            let serial = SerialNumber::from_octets(serial).unwrap();
            let since = age.map(|age| then - hours(age));
            Revoked::new(serial, then - hours(1), *reason, since).unwrap()
        })
        .filter(|entry| shape.shards().of(entry.serial()) == shard)
        .collect();
    let url = rules(shape.shards)
        .url_of_shard(&CaId::of(chain.issuing()), shard)
        .unwrap();
    let url = [url];
    authority.issue_crl(&CrlParams {
        number: CrlNumber::next(None, then).unwrap(),
        this_update: then,
        next_update: then + rules(shape.shards).validity(),
        partition: shape.shards().are_partitions().then_some(&url),
        revoked: &revoked,
    })
}

/// Returns the golden CRL of a shape.
pub(super) fn golden(shape: &CrlShape) -> Vec<u8> {
    crl(&Authority::golden(), shape, shape.shard)
}

fn case(authority: &Authority, name: &str, shape: &CrlShape, serial: [u8; 16]) -> Case {
    let leaf = Shape {
        now: shape.now,
        crl: Some(shape.shards),
        ..Shape::LEAF
    };
    let own = shape
        .shards()
        .of(&SerialNumber::from_octets(&serial).unwrap());
    let others = (0..shape.shards).filter(|shard| *shard != own);
    let state = if serial == GOOD { "good" } else { "bad" };
    Case {
        name: format!("{name}-{state}"),
        issued: Issued {
            has_ml_dsa: name.contains("ml-dsa"),
            ..authority.issue_as(&leaf, serial)
        },
        crl: crl(authority, shape, own),
        revoked: shape.reason(&serial),
        others: others.map(|shard| crl(authority, shape, shard)).collect(),
    }
}

/// Returns every shape by the golden authority, and the plainest shape by every kind of key and algorithm.
pub(super) fn cases() -> Vec<Case> {
    let golden = Authority::golden();
    let mut cases: Vec<_> = CRL_SHAPES
        .iter()
        .flat_map(|shape| [GOOD, BAD].map(|serial| case(&golden, shape.name, shape, serial)))
        .collect();
    let by = |(name, algorithm): &(&str, SignatureAlgorithm)| {
        let authority = Authority::signing_with(*algorithm);
        [GOOD, BAD].map(|serial| case(&authority, name, &CrlShape::PLAIN, serial))
    };
    cases.extend(ALGORITHMS.iter().flat_map(by));
    cases
}
