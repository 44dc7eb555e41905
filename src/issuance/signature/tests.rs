//! Tests algorithm identifiers, raw signatures and payloads.

use const_oid::db::rfc5912::ID_RSASSA_PSS;
use der::{Decode as _, Encode as _, asn1::AnyRef};
use spki::AlgorithmIdentifierRef;

use super::*;
use crate::issuance::scheme::{SchemeError, pss_parameters};

#[test]
fn each_algorithm_identifier_reads_back_the_same() {
    for algorithm in SignatureAlgorithm::ALL {
        let der = algorithm.scheme().to_der().unwrap();
        assert_eq!(SignatureScheme::parse(&der), Ok(algorithm.scheme()));
    }
}

#[test]
fn pss_with_sha_256_is_encoded_as_the_baseline_requirements_print_it() {
    // CA/Browser Forum TLS BR, section 7.1.3.2.1.
    let expected = "304106092a864886f70d01010a3034a00f300d0609608648016503040201\
                    0500a11c301a06092a864886f70d010108300d0609608648016503040201\
                    0500a203020120";
    let der = SignatureScheme::RsaPss(Hash::Sha256).to_der().unwrap();
    assert_eq!(hex::encode(der), expected);
}

#[test]
fn pss_parameters_without_null_are_read_and_other_salts_are_not() {
    let identifier = |parameters: &[u8]| {
        AlgorithmIdentifierRef {
            oid: ID_RSASSA_PSS,
            parameters: Some(AnyRef::from_der(parameters).unwrap()),
        }
        .to_der()
        .unwrap()
    };
    let bare = pss_parameters(Hash::Sha384, false, false).unwrap();
    assert_eq!(
        SignatureScheme::parse(&identifier(&bare)),
        Ok(SignatureScheme::RsaPss(Hash::Sha384))
    );
    let mut salted = bare;
    *salted.last_mut().unwrap() = 20;
    assert_eq!(
        SignatureScheme::parse(&identifier(&salted)),
        Err(SchemeError::Unsupported(ID_RSASSA_PSS.into()))
    );
}

#[test]
fn raw_ecdsa_becomes_minimal_positive_integers() {
    let mut raw = vec![0; 64];
    raw[31] = 0x80;
    raw[63] = 1;
    let signature = Signature::from_raw_ecdsa(&raw).unwrap();
    assert_eq!(signature.as_octets(), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
    assert!(Signature::from_raw_ecdsa(&raw[1..]).is_err());
    assert!(Signature::from_raw_ecdsa(&[]).is_err());
}

#[test]
fn a_payload_is_the_digest_or_else_the_message() {
    for &algorithm in SignatureAlgorithm::ALL {
        let input = SigningInput::new(algorithm, b"message");
        match algorithm.pre_hash() {
            Some(hash) => assert_eq!(input.payload().len(), usize::from(hash.length())),
            None => assert_eq!(input.payload(), b"message"),
        }
    }
}
