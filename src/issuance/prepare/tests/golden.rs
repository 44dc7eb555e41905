//! Golden certificates, written by the tests' own encoder.

use const_oid::db::rfc5280::*;

use super::*;

#[test]
fn a_tls_leaf_has_exactly_these_bytes() {
    let root = Authority::root("root");
    let key = TestKey::fixed();
    let usages = words(&[
        "digital signature",
        "key encipherment",
        "server auth",
        "client auth",
    ]);
    let tbs = prepare(&leaf(&key), &key, &root, &wanting(&usages))
        .unwrap()
        .tbs;
    let expected = sequence(&[
        &[0xa0, 3, 2, 1, 2],
        &tlv(2, &SERIAL),
        &sequence(&[&oid_der(const_oid::db::rfc5912::ECDSA_WITH_SHA_256)]),
        &common_name("root"),
        &sequence(&[&tlv(0x17, b"231114221220Z"), &tlv(0x17, b"240212221220Z")]),
        &common_name("leaf"),
        key.spki(),
        &tlv(
            0xa3,
            &sequence(&[
                &extension(
                    ID_CE_AUTHORITY_KEY_IDENTIFIER,
                    false,
                    &sequence(&[&tlv(0x80, b"key id")]),
                ),
                &extension(
                    ID_CE_SUBJECT_KEY_IDENTIFIER,
                    false,
                    &tlv(
                        4,
                        &digest::digest(&digest::SHA256, key.octets()).as_ref()[..20],
                    ),
                ),
                &extension(ID_CE_KEY_USAGE, true, &[3, 2, 7, 0x80]),
                &extension(ID_CE_BASIC_CONSTRAINTS, true, &[0x30, 0]),
                &extension(
                    ID_CE_EXT_KEY_USAGE,
                    false,
                    &purposes(&[ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH]),
                ),
                &extension(ID_CE_SUBJECT_ALT_NAME, false, &san(&[(DNS, b"a.example")])),
            ]),
        ),
    ]);
    assert_eq!(hex::encode(tbs), hex::encode(expected));
}

#[test]
fn a_leaf_without_a_subject_past_2049_has_exactly_these_bytes() {
    let root = Authority::root("root");
    let key = TestKey::rsa();
    let csr = VerifiedCsr::parse(
        Request::new("", key)
            .names(&[(URI, b"spiffe://td/a")])
            .pem(key)
            .as_bytes(),
    )
    .unwrap();
    let issuer = issuer(&root);
    let params = issuer.profile().admit(&csr, &DEFAULT).unwrap();
    // 2049-12-31T00:00:00Z
    let tbs = PreparedCertificate::prepare(
        &params,
        &issuer,
        at(2_524_521_600),
        Serial::from_random([0; 16]),
    )
    .unwrap()
    .tbs;
    let expected = sequence(&[
        &[0xa0, 3, 2, 1, 2],
        &tlv(2, &[&[0x40][..], &[0; 15]].concat()),
        &sequence(&[&oid_der(const_oid::db::rfc5912::ECDSA_WITH_SHA_256)]),
        &common_name("root"),
        &sequence(&[&tlv(0x17, b"491230235900Z"), &tlv(0x18, b"20500330235900Z")]),
        &[0x30, 0],
        key.spki(),
        &tlv(
            0xa3,
            &sequence(&[
                &extension(
                    ID_CE_AUTHORITY_KEY_IDENTIFIER,
                    false,
                    &sequence(&[&tlv(0x80, b"key id")]),
                ),
                &extension(
                    ID_CE_SUBJECT_KEY_IDENTIFIER,
                    false,
                    &tlv(
                        4,
                        &digest::digest(&digest::SHA256, key.octets()).as_ref()[..20],
                    ),
                ),
                &extension(ID_CE_KEY_USAGE, true, &[3, 2, 5, 0xa0]),
                &extension(ID_CE_BASIC_CONSTRAINTS, true, &[0x30, 0]),
                &extension(
                    ID_CE_SUBJECT_ALT_NAME,
                    true,
                    &san(&[(URI, b"spiffe://td/a")]),
                ),
            ]),
        ),
    ]);
    assert_eq!(hex::encode(tbs), hex::encode(expected));
}
