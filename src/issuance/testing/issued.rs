//! An issued certificate for tests outside this module.

use std::sync::Arc;

use futures::FutureExt as _;
use jiff::Timestamp;

use super::{Authority, DEFAULT, Request, TestKey, at};
use crate::issuance::{
    IssuedCertificate, Issuer, Limits, PreparedCertificate, Profile, Rules, Serial, VerifiedCsr,
};

const NOW: i64 = 1_700_000_000;
/// The tag of a dNSName.
const DNS: u8 = 0x82;

/// Makes a certificate with the whole pipeline and a key in memory.
pub(crate) fn issued() -> IssuedCertificate {
    let (root, key) = (Authority::root("root"), TestKey::p256());
    let request = Request::new("leaf", &key).names(&[(DNS, b"a.example")]);
    let csr = VerifiedCsr::parse(request.pem(&key).as_bytes()).unwrap();
    let profile = Profile::new(Rules::default(), Limits::default()).unwrap();
    let issuer = Arc::new(Issuer::new(root.chain(), profile, None).unwrap());
    let params = issuer.profile().admit(&csr, &DEFAULT).unwrap();
    let now: Timestamp = at(NOW);
    let serial = Serial::from_random([0x5a; 16]);
    let prepared = PreparedCertificate::prepare(&params, &issuer, now, serial).unwrap();
    // A key in memory signs without waiting.
    prepared.issue(root.key()).now_or_never().unwrap().unwrap()
}
