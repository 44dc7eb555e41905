//! Signatures that do not prove possession of the key.

use const_oid::db::rfc5912::ECDSA_WITH_SHA_256;

use super::*;

pub(super) fn signatures(corpus: &mut Corpus) {
    let info = plain().info();
    let signature = key().sign(key().scheme(), &info);
    let identifier = |kind: &str, parameters: &[u8]| sequence(&[&oid_der(oid(kind)), parameters]);
    let around = |algorithm: &[u8], signature: &[u8]| {
        wrap(&sequence(&[&info, algorithm, &bit_string(signature)]))
    };
    for (name, kind, parameters, slug) in [
        (
            "MD2 with RSA",
            "1.2.840.113549.1.1.2",
            &[5, 0][..],
            "unsupported-signature-algorithm",
        ),
        (
            "MD5 with RSA",
            "1.2.840.113549.1.1.4",
            &[5, 0],
            "weak-signature-algorithm",
        ),
        (
            "SHA-1 with RSA",
            "1.2.840.113549.1.1.5",
            &[5, 0],
            "weak-signature-algorithm",
        ),
        (
            "SHA-224 with RSA",
            "1.2.840.113549.1.1.14",
            &[5, 0],
            "weak-signature-algorithm",
        ),
        (
            "SHA-1 with ECDSA",
            "1.2.840.10045.4.1",
            &[],
            "weak-signature-algorithm",
        ),
        (
            "SHA-224 with ECDSA",
            "1.2.840.10045.4.3.1",
            &[],
            "weak-signature-algorithm",
        ),
        (
            "ECDSA with NULL",
            "1.2.840.10045.4.3.2",
            &[5, 0],
            "unsupported-signature-algorithm",
        ),
        (
            "Ed25519 with NULL",
            "1.3.101.112",
            &[5, 0],
            "unsupported-signature-algorithm",
        ),
        (
            "PSS without parameters",
            "1.2.840.113549.1.1.10",
            &[],
            "unsupported-signature-algorithm",
        ),
        (
            "PSS with the defaults",
            "1.2.840.113549.1.1.10",
            &[0x30, 0],
            "unsupported-signature-algorithm",
        ),
        (
            "id-alg-unsigned",
            "1.3.6.1.5.5.7.6.36",
            &[],
            "unsupported-signature-algorithm",
        ),
        (
            "id-alg-noSignature",
            "1.3.6.1.5.5.7.6.2",
            &[5, 0],
            "unsupported-signature-algorithm",
        ),
        (
            "a hash algorithm instead of a signature algorithm",
            "2.16.840.1.101.3.4.2.1",
            &[],
            "unsupported-signature-algorithm",
        ),
        (
            "an RSA scheme for an EC key",
            "1.2.840.113549.1.1.11",
            &[5, 0],
            "bad-signature",
        ),
        ("Ed25519 for an EC key", "1.3.101.112", &[], "bad-signature"),
        (
            "a different hash than the one used",
            "1.2.840.10045.4.3.3",
            &[],
            "bad-signature",
        ),
    ] {
        corpus.refused(
            name,
            around(&identifier(kind, parameters), &signature),
            slug,
        );
    }
    let ecdsa = sequence(&[&oid_der(ECDSA_WITH_SHA_256)]);
    let mut damaged = signature.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for (name, signature) in [
        ("a damaged signature", damaged),
        ("no signature", Vec::new()),
        ("r and s of zero", sequence(&[&[2, 1, 0], &[2, 1, 0]])),
        ("raw r and s", vec![7; 64]),
        (
            "an octet after the signature",
            [&signature[..], &[0]].concat(),
        ),
    ] {
        corpus.refused(name, around(&ecdsa, &signature), "bad-signature");
    }
    let unused = wrap(&sequence(&[
        &info,
        &ecdsa,
        &tlv(3, &[&[4], &signature[..]].concat()),
    ]));
    corpus.refused("unused bits in the signature", unused, "bad-der");
}
