//! Checks the reader of CRLs that others make, and that it reads our own CRLs as they were meant.
//!
//! The first octet of an input says which kind it is:
//!
//! | octet | the rest |
//! |---|---|
//! | 0 | a text or DER, as in a Secret |
//! | 1 | a TBSCertList, DER, which is signed here |
//! | others | a coin for the distribution point; then entries: serial number, time, reason and a coin for an invalidity date |

use futures::executor::block_on;
use jiff::Timestamp;
use pkcs11_issuer::issuance::{
    SignatureAlgorithm,
    crl::{
        CaId, CrlNumber, CrlParams, PrepareCrlError, PreparedCrl, ReadCrl, RevocationReason,
        Revoked, SerialNumber,
    },
};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use crate::{
    as_piece,
    authority::{CHAIN, ISSUER},
    der::{bit_string, extension, rdns, sequence, tlv},
    piece,
};
use const_oid::db::{
    rfc5280::{ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CRL_NUMBER, ID_CE_CRL_REASONS},
    rfc8410::ID_ED_25519,
};

/// 2023-11-14T22:13:20Z.
const NOW: i64 = 1_700_000_000;

/// Checks that any octets are read or refused, that what is read can be written and read again, and that a CRL of ours is read
/// with exactly its entries. Returns whether a CRL was read.
///
/// # Panics
///
/// One of these does not hold.
pub fn check(input: &[u8]) -> bool {
    let Some((kind, rest)) = input.split_first() else {
        return false;
    };
    match kind {
        0 => read(rest),
        1 => read(&ISSUER.sign_der(rest)),
        _ => own(rest),
    }
}

/// Reads octets of others.
fn read(octets: &[u8]) -> bool {
    let Ok(all) = ReadCrl::parse_either(octets) else {
        return false;
    };
    for crl in &all {
        // Both outcomes are right.
        drop(crl.verify(CHAIN.issuing()));
        assert!(crl.this_update() < crl.next_update());
        let again = ReadCrl::parse_pem(crl.pem().as_bytes()).expect("what was read is read again");
        let [again] = again.as_slice() else {
            panic!("one CRL became {}", again.len());
        };
        assert_eq!(again.der(), crl.der());
        assert_eq!(again.entries(), crl.entries());
        assert_eq!(again.number(), crl.number());
    }
    true
}

/// Makes a CRL of the entries in the input and reads it again.
fn own(mut rest: &[u8]) -> bool {
    let coin = rest.split_off_first().is_some_and(|coin| coin % 2 == 1);
    let mut revoked: Vec<Revoked> = Vec::new();
    while let [_, ..] = rest {
        revoked.extend(entry(&mut rest));
    }
    let url = format!("http://a.example/{}/0.crl", CaId::of(CHAIN.issuing()));
    let urls = [url.parse().expect("a URL")];
    let params = CrlParams {
        number: CrlNumber::new(7),
        this_update: at(NOW),
        next_update: at(NOW + 3600),
        partition: coin.then_some(&urls),
        revoked: &revoked,
    };
    let prepared = match PreparedCrl::prepare(&params, CHAIN.issuing(), SignatureAlgorithm::Ed25519)
    {
        Ok(prepared) => prepared,
        Err(PrepareCrlError::Duplicate(serial)) => {
            let same = revoked.iter().filter(|entry| *entry.serial() == serial);
            assert!(same.count() > 1, "{serial} occurs once");
            return false;
        }
        Err(error) => panic!("{error}: {revoked:?}"),
    };
    let issued = block_on(prepared.issue(&*ISSUER)).expect("the right key signs");
    let crl = ReadCrl::parse(issued.der()).expect("a CRL of ours can be read");
    crl.verify(CHAIN.issuing()).expect("the right key signed");
    assert_eq!(
        (crl.number(), crl.is_partition()),
        (Some(CrlNumber::new(7)), coin)
    );
    revoked.sort_by_key(|entry| *entry.serial());
    assert_eq!(crl.entries(), revoked);
    let (left, other) =
        CertificateRevocationList::from_der(issued.der()).expect("x509-parser reads it");
    assert!(left.is_empty());
    let serials = other
        .iter_revoked_certificates()
        .map(|entry| entry.raw_serial());
    assert!(serials.eq(revoked.iter().map(|entry| entry.serial().octets())));
    true
}

/// Cuts off an entry that is not later than the CRL; `None` if the piece is no serial number.
fn entry(rest: &mut &[u8]) -> Option<Revoked> {
    let serial = SerialNumber::from_octets(piece(rest)).ok();
    let [time, reason, coin] =
        [(); 3].map(|()| rest.split_off_first().copied().unwrap_or_default());
    let reasons = RevocationReason::ALL;
    let reason = reasons[usize::from(reason) % reasons.len()];
    let time = at(NOW - i64::from(time));
    let invalidity = (coin % 2 == 1).then(|| at(i64::from(coin)));
    Some(Revoked::new(serial?, time, reason, invalidity).expect("times after 1970"))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time of these years")
}

/// Returns a TBSCertList with one entry.
fn plain(entries: &[u8], extensions: &[u8]) -> Vec<u8> {
    sequence(&[
        &[2, 1, 1],
        &sequence(&[&crate::der::oid(ID_ED_25519)]),
        &tlv(0x30, &rdns(&[("2.5.4.3", "root")])),
        &tlv(0x17, b"231114221320Z"),
        &tlv(0x17, b"231121221320Z"),
        entries,
        &tlv(0xa0, &tlv(0x30, extensions)),
    ])
}

/// Returns CRLs of others in DER and PEM, and entries of our own.
///
/// # Panics
///
/// A seed gives no CRL.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let reason = extension(ID_CE_CRL_REASONS, false, &[10, 1, 1]);
    let entry = sequence(&[
        &[2, 2, 0, 0x80],
        &tlv(0x17, b"231114221320Z"),
        &sequence(&[&reason]),
    ]);
    let known = [
        extension(
            ID_CE_AUTHORITY_KEY_IDENTIFIER,
            false,
            &sequence(&[&tlv(0x80, b"key id")]),
        ),
        extension(ID_CE_CRL_NUMBER, false, &[2, 1, 7]),
    ]
    .concat();
    let listed = plain(&sequence(&[&entry]), &known);
    let empty = plain(&[], &known);
    let signed = ISSUER.sign_der(&listed);
    let text = pkcs11_issuer::issuance::pem::encode("X509 CRL", &signed);
    let one = [as_piece(&[0x5a; 16]), vec![1, 1, 0]].concat();
    let two = [as_piece(&[0, 0xff]), vec![0, 0, 1]].concat();
    let seeds = vec![
        [&[1], &*listed].concat(),
        [&[1], &*empty].concat(),
        [&[0], &*signed].concat(),
        [&[0], text.as_bytes(), text.as_bytes()].concat(),
        [&[2, 0], &*one, &*two].concat(),
        vec![2, 1],
    ];
    for (number, seed) in seeds.iter().enumerate() {
        assert!(check(seed), "seed {number} gives no CRL");
    }
    let unsigned = sequence(&[
        &listed,
        &sequence(&[&crate::der::oid(ID_ED_25519)]),
        &bit_string(&[0]),
    ]);
    [seeds, vec![[&[0], &*unsigned].concat()]].concat()
}
