//! Public keys.

use const_oid::db::{
    rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_224_R_1, SECP_256_R_1},
    rfc8410::{ID_ED_25519, ID_X_25519},
};

use super::*;

pub(super) fn keys(corpus: &mut Corpus) {
    let point = key().octets();
    let p256 = |octets: &[u8]| spki(ID_EC_PUBLIC_KEY, Some(oid_der(SECP_256_R_1)), octets);
    let rsa = |modulus: &[u8], exponent: &[u8]| {
        spki(
            RSA_ENCRYPTION,
            Some(vec![5, 0]),
            &rsa_public_key(modulus, exponent),
        )
    };
    let changed = |at: usize, octet: u8| {
        let mut point = point.to_vec();
        point[at] = octet;
        p256(&point)
    };
    let mut one = [0; 32];
    one[0] = 1;
    for (name, spki, slug) in [
        ("RSA-512", rsa(&[0xff; 64], &[1, 0, 1]), "weak-key"),
        ("RSA-1024", rsa(&[0xff; 128], &[1, 0, 1]), "weak-key"),
        (
            "RSA-2047",
            rsa(&[&[0x7f][..], &[0xff; 255]].concat(), &[1, 0, 1]),
            "weak-key",
        ),
        ("RSA with exponent 1", rsa(&[0xff; 256], &[1]), "weak-key"),
        ("RSA with exponent 3", rsa(&[0xff; 256], &[3]), "weak-key"),
        (
            "RSA with an even exponent",
            rsa(&[0xff; 256], &[1, 0, 0]),
            "weak-key",
        ),
        (
            "RSA with an exponent of 33 octets",
            rsa(&[0xff; 256], &[0x11; 33]),
            "weak-key",
        ),
        (
            "RSA divisible by 3",
            rsa(&[0xff; 256], &[1, 0, 1]),
            "weak-key",
        ),
        (
            "RSA-2056, even",
            rsa(&[0xfe; 257], &[1, 0, 1]),
            "invalid-key",
        ),
        ("RSA-16384", rsa(&[0xff; 2048], &[1, 0, 1]), "key-too-large"),
        (
            "RSA without parameters",
            spki(
                RSA_ENCRYPTION,
                None,
                &rsa_public_key(&[0xff; 256], &[1, 0, 1]),
            ),
            "invalid-key",
        ),
        (
            "RSA of rubbish",
            spki(RSA_ENCRYPTION, Some(vec![5, 0]), &[1, 2, 3]),
            "invalid-key",
        ),
        (
            "RSASSA-PSS",
            spki(oid("1.2.840.113549.1.1.10"), None, &[0; 270]),
            "unsupported-key",
        ),
        (
            "DSA",
            spki(oid("1.2.840.10040.4.1"), None, &[2, 1, 1]),
            "unsupported-key",
        ),
        (
            "P-224",
            spki(ID_EC_PUBLIC_KEY, Some(oid_der(SECP_224_R_1)), &[4; 57]),
            "unsupported-key",
        ),
        (
            "secp256k1",
            spki(ID_EC_PUBLIC_KEY, Some(oid_der(oid("1.3.132.0.10"))), point),
            "unsupported-key",
        ),
        (
            "a curve given by its parameters",
            spki(ID_EC_PUBLIC_KEY, Some(sequence(&[&[2, 1, 1]])), point),
            "invalid-key",
        ),
        (
            "no curve",
            spki(ID_EC_PUBLIC_KEY, None, point),
            "invalid-key",
        ),
        (
            "a compressed point",
            p256(&[&[2][..], &point[1..33]].concat()),
            "invalid-key",
        ),
        (
            "a hybrid point",
            changed(0, 6 + (point[64] & 1)),
            "invalid-key",
        ),
        ("the point at infinity", p256(&[0]), "invalid-key"),
        (
            "a point off the curve",
            changed(64, point[64] ^ 1),
            "invalid-key",
        ),
        ("a point of 64 octets", p256(&point[..64]), "invalid-key"),
        (
            "a point of P-384 on P-256",
            p256(TestKey::each_kind()[2].octets()),
            "invalid-key",
        ),
        (
            "Ed25519 of 33 octets",
            spki(ID_ED_25519, None, &[9; 33]),
            "invalid-key",
        ),
        (
            "Ed25519 with parameters",
            spki(ID_ED_25519, Some(vec![5, 0]), &[9; 32]),
            "invalid-key",
        ),
        (
            "Ed25519, the neutral element",
            spki(ID_ED_25519, None, &one),
            "weak-key",
        ),
        (
            "Ed25519, zero",
            spki(ID_ED_25519, None, &[0; 32]),
            "weak-key",
        ),
        (
            "Ed448",
            spki(oid("1.3.101.113"), None, &[9; 57]),
            "unsupported-key",
        ),
        (
            "X25519",
            spki(ID_X_25519, None, &[9; 32]),
            "unsupported-key",
        ),
        (
            "ML-DSA-44, cut short",
            spki(MlDsa::MlDsa44.oid(), None, &[9; 1311]),
            "invalid-key",
        ),
        (
            "the CA's own key",
            fixture().key().spki().to_vec(),
            "bad-signature",
        ),
    ] {
        let mut request = plain();
        request.spki = spki;
        corpus.refused(name, request.pem(key()), slug);
    }
    let own = Request::new("leaf", fixture().key()).pem(fixture().key());
    corpus.refused("the CA's own request", own, "issuer-key-reuse");
}
