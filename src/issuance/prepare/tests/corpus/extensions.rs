//! Extensions.

use std::slice;

use super::*;

pub(super) fn extensions(corpus: &mut Corpus) {
    let with = |kind: ObjectIdentifier, value: &[u8]| plain().extension(kind, value).pem(key());
    let usages = |bits: &[u8]| with(ID_CE_KEY_USAGE, &key_usage(bits));
    for (name, pem, slug) in [
        (
            "CA:TRUE",
            with(ID_CE_BASIC_CONSTRAINTS, &sequence(&[&[1, 1, 0xff]])),
            "csr-request-mismatch",
        ),
        ("keyCertSign", usages(&[0, 2, 5]), "csr-request-mismatch"),
        ("cRLSign", usages(&[6]), "csr-request-mismatch"),
        (
            "no usage bit",
            with(ID_CE_KEY_USAGE, &[3, 1, 0]),
            "csr-request-mismatch",
        ),
        (
            "server auth that was not asked for",
            with(ID_CE_EXT_KEY_USAGE, &purposes(&[ID_KP_SERVER_AUTH])),
            "csr-request-mismatch",
        ),
        (
            "any purpose",
            with(ID_CE_EXT_KEY_USAGE, &purposes(&[ANY_EXTENDED_KEY_USAGE])),
            "csr-request-mismatch",
        ),
        (
            "smart card logon",
            with(
                ID_CE_EXT_KEY_USAGE,
                &purposes(&[oid("1.3.6.1.4.1.311.20.2.2")]),
            ),
            "usage-not-allowed",
        ),
        (
            "name constraints",
            with(
                ID_CE_NAME_CONSTRAINTS,
                &name_constraints(&[(DNS, b"")], &[]),
            ),
            "extension-not-allowed",
        ),
        (
            "BOOLEAN 01",
            with(ID_CE_BASIC_CONSTRAINTS, &sequence(&[&[1, 1, 1]])),
            "bad-der",
        ),
        (
            "keyUsage of NULL",
            with(ID_CE_KEY_USAGE, &[5, 0]),
            "bad-der",
        ),
        (
            "an octet after keyUsage",
            with(ID_CE_KEY_USAGE, &[3, 2, 7, 0x80, 0]),
            "bad-der",
        ),
        (
            "an octet after the SAN",
            with(
                ID_CE_SUBJECT_ALT_NAME,
                &[&san(&[(DNS, b"a")])[..], &[0]].concat(),
            ),
            "bad-san",
        ),
        (
            "two SANs",
            plain()
                .names(&[(DNS, b"a")])
                .names(&[(DNS, b"b")])
                .pem(key()),
            "duplicate-extension",
        ),
        (
            "an unknown critical extension",
            plain()
                .critical_extension(oid("1.3.6.1.4.1.32473.9"), &[5, 0])
                .pem(key()),
            "extension-not-allowed",
        ),
        (
            "an unknown extension twice",
            plain()
                .extension(oid("1.2.3"), b"a")
                .extension(oid("1.2.3"), b"b")
                .pem(key()),
            "duplicate-extension",
        ),
    ] {
        corpus.refused(name, pem, slug);
    }
    for large in LARGE {
        let kind = large_oid(large);
        corpus.refused(
            format!("a critical extension {large}"),
            plain().critical_extension(kind.clone(), &[5, 0]).pem(key()),
            "extension-not-allowed",
        );
        corpus.refused(
            format!("the purpose {large}"),
            plain()
                .extension(ID_CE_EXT_KEY_USAGE, &purposes(slice::from_ref(&kind)))
                .pem(key()),
            "usage-not-allowed",
        );
        let named = sequence(&[&oid_der(kind.clone()), &[5, 0]]);
        let mut request = plain();
        request.algorithm = Some(named.clone());
        let unsupported = "unsupported-signature-algorithm";
        corpus.refused(
            format!("the algorithm {large}"),
            request.pem(key()),
            unsupported,
        );
        let mut request = plain();
        request.spki = sequence(&[&named, &bit_string(b"key")]);
        corpus.refused(
            format!("a key of type {large}"),
            request.pem(key()),
            "unsupported-key",
        );
        let mut request = plain();
        let curve = sequence(&[&oid_der(oid("1.2.840.10045.2.1")), &oid_der(kind)]);
        request.spki = sequence(&[&curve, &bit_string(b"key")]);
        corpus.refused(
            format!("the curve {large}"),
            request.pem(key()),
            "unsupported-key",
        );
    }
    corpus.refused(
        "a path length above every bound",
        with(
            ID_CE_BASIC_CONSTRAINTS,
            &sequence(&[&[1, 1, 0xff], &integer(&[1; 30])]),
        ),
        "csr-request-mismatch",
    );
    let our_usage = extension(ID_CE_KEY_USAGE, true, &[3, 2, 7, 0x80]);
    for (name, pem) in [
        ("the usages asked for", usages(&[0, 2])),
        ("CA:FALSE", with(ID_CE_BASIC_CONSTRAINTS, &sequence(&[]))),
        (
            "CA:FALSE written out",
            with(ID_CE_BASIC_CONSTRAINTS, &sequence(&[&[1, 1, 0]])),
        ),
        (
            "a subject key identifier of its own",
            with(ID_CE_SUBJECT_KEY_IDENTIFIER, &tlv(4, b"mine")),
        ),
        (
            "an authority key identifier of its own",
            with(
                ID_CE_AUTHORITY_KEY_IDENTIFIER,
                &sequence(&[&tlv(0x80, b"mine")]),
            ),
        ),
        (
            "OCSP must-staple",
            with(oid("1.3.6.1.5.5.7.1.24"), &[0x30, 3, 2, 1, 5]),
        ),
        (
            "a CRL address of its own",
            with(ID_CE_CRL_DISTRIBUTION_POINTS, b"rubbish"),
        ),
    ] {
        // The issuer writes keyUsage, regardless of the CSR's other extensions.
        corpus.add(name, pem, Ok(our_usage.clone()));
    }
    for large in LARGE {
        let unknown = plain().extension(large_oid(large), &[5, 0]);
        let name = format!("an extension {large}");
        corpus.add(name, unknown.pem(key()), Ok(our_usage.clone()));
        let attribute = plain().attribute(large, &[&[5, 0]]);
        let name = format!("an attribute {large}");
        corpus.add(name, attribute.pem(key()), Ok(our_usage.clone()));
    }
}
