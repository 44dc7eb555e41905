//! CRLs with 100 000 entries of a CA, in several numbers of shards: time and memory of one shard's CRL.

use std::time::Instant;

use aws_lc_rs::signature::EcdsaKeyPair;
use bench::{Report, Row, median};
use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use pkcs11_issuer::issuance::{
    Issuer, IssuerCertificate, SignatureAlgorithm,
    crl::{
        CrlNumber, CrlParams, IssuedCrl, PreparedCrl, ReadCrl, RevocationReason, Revoked,
        SerialNumber, Shards,
    },
};

use super::{Failed, Once};

/// Revoked certificates of the CA.
const ENTRIES: u32 = 100_000;

/// Measurements per median.
const ROUNDS: usize = 5;

/// Measures one shard's CRL for each number of shards and adds rows to the report.
pub(super) fn measure(
    report: &mut Report,
    issuer: &Issuer,
    key: &EcdsaKeyPair,
) -> Result<(), Failed> {
    let now = Timestamp::from_second(1_800_000_000)?;
    let revoked = (0..ENTRIES)
        .map(|number| revoked(number, now))
        .collect::<Result<Vec<_>, Failed>>()?;
    let url = "http://pki.example/crl/00112233445566778899aabbccddeeff/0.crl".parse()?;
    let urls = [url];
    println!(
        "{:<10} {:>10} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "shards", "entries", "octets", "prepare, ms", "seal, ms", "read, ms", "peak, MiB"
    );
    for shards in [1, 8, 64] {
        let shards = Shards::try_from(shards)?;
        let own: Vec<_> = revoked
            .iter()
            .filter(|entry| shards.of(entry.serial()) == 0)
            .copied()
            .collect();
        let params = CrlParams {
            number: CrlNumber::new(1),
            this_update: now,
            next_update: now + SignedDuration::from_hours(168),
            partition: shards.are_partitions().then_some(&urls),
            revoked: &own,
        };
        let issuing = issuer.chain().issuing();
        let (mut prepared, mut sealed, mut read) = (Vec::new(), Vec::new(), Vec::new());
        let mut octets = 0;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let crl = PreparedCrl::prepare(&params, issuing, SignatureAlgorithm::EcdsaP256Sha256)?;
            prepared.push(started.elapsed().as_secs_f64() * 1e3);
            let started = Instant::now();
            let crl = block_on(crl.issue(&Once(key, std::sync::Mutex::default())))?;
            sealed.push(started.elapsed().as_secs_f64() * 1e3);
            let started = Instant::now();
            ReadCrl::parse(crl.der())?.verify(issuing)?;
            read.push(started.elapsed().as_secs_f64() * 1e3);
            octets = crl.der().len();
        }
        let [prepare, seal, read] = [median(&prepared), median(&sealed), median(&read)];
        let mut whole = Ok(None);
        let allocated = allocation_counter::measure(|| {
            whole = make(&params, issuing, key).map(Some);
        });
        whole?;
        let peak = f64::from(u32::try_from(allocated.bytes_max)?) / f64::from(1 << 20);
        let shards = shards.get();
        println!(
            "{shards:<10} {:>10} {octets:>12} {prepare:>12.1} {seal:>12.1} {read:>12.1} {peak:>12.1}",
            own.len()
        );
        for (what, unit, value) in [
            ("prepare", "ms", prepare),
            ("seal", "ms", seal),
            ("read and verify", "ms", read),
            ("most memory", "MiB", peak),
        ] {
            let name = format!("CRL of one of {shards} shards, 100 000 entries in all, {what}");
            report.push(Row::new(name, unit, value));
        }
    }
    Ok(())
}

fn make(
    params: &CrlParams<'_>,
    issuing: &IssuerCertificate,
    key: &EcdsaKeyPair,
) -> Result<IssuedCrl, Failed> {
    let crl = PreparedCrl::prepare(params, issuing, SignatureAlgorithm::EcdsaP256Sha256)?;
    Ok(block_on(
        crl.issue(&Once(key, std::sync::Mutex::default())),
    )?)
}

fn revoked(number: u32, now: Timestamp) -> Result<Revoked, Failed> {
    let serial = [&[0x40; 12][..], &number.to_be_bytes()].concat();
    let serial = SerialNumber::from_octets(&serial)?;
    Ok(Revoked::new(
        serial,
        now,
        RevocationReason::KeyCompromise,
        None,
    )?)
}
