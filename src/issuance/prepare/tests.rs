use futures::executor::block_on;

use super::*;
use crate::issuance::{Profile, VerifiedCsr, Wanted, testing::*};

/// The time of every test: 2023-11-14, a little after a full second.
fn now() -> Timestamp {
    at(1_700_000_000) + SignedDuration::from_millis(345)
}

const SERIAL: [u8; 16] = [0x5a; 16];

fn issuer(authority: &Authority) -> Arc<Issuer> {
    Arc::new(Issuer::new(authority.chain(), Profile::default(), None).unwrap())
}

fn prepare(request: &Request, key: &TestKey, authority: &Authority, wanted: &Wanted<'_>) -> Result<PreparedCertificate, PrepareError> {
    let issuer = issuer(authority);
    let csr = VerifiedCsr::parse(request.pem(key).as_bytes()).unwrap();
    let params = issuer.profile().admit(&csr, wanted).unwrap();
    PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(SERIAL))
}

fn refusal(request: &Request, key: &TestKey, authority: &Authority, wanted: &Wanted<'_>) -> RefusalReason {
    match prepare(request, key, authority, wanted) {
        Err(PrepareError::Refused(refusal)) => refusal.reason(),
        other => panic!("not refused: {other:?}"),
    }
}
