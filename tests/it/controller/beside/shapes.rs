//! The requests that both issuers get, and the fields in which their certificates differ.

use anyhow::Result;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    KeyPair, KeyUsagePurpose, OtherNameValue, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
    PKCS_RSA_SHA256, SanType, SignatureAlgorithm,
};
use serde_json::{Value, json};

/// One request.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) csr: fn() -> Result<String>,
    /// Fields of the request besides the CSR.
    pub(super) spec: fn() -> Value,
    pub(super) differences: &'static [&'static str],
}

/// A leaf of cert-manager's CA issuer has no subject key identifier.
const OF_EVERY_LEAF: &[&str] = &["subjectKeyIdentifier"];

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "rsa",
        csr: || csr(&PKCS_RSA_SHA256, |_| Ok(())),
        spec: || json!({"usages": ["digital signature", "key encipherment", "server auth"]}),
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "ecdsa",
        csr: || csr(&PKCS_ECDSA_P256_SHA256, |_| Ok(())),
        spec: || json!({"usages": ["digital signature", "server auth", "client auth"]}),
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "ed25519",
        csr: || csr(&PKCS_ED25519, |_| Ok(())),
        spec: || json!({"usages": ["digital signature", "server auth"]}),
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "usages-by-default",
        csr: || csr(&PKCS_RSA_SHA256, |_| Ok(())),
        spec: || json!({"usages": []}),
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "key-encipherment-with-ecdsa",
        csr: || csr(&PKCS_ECDSA_P256_SHA256, |_| Ok(())),
        spec: || json!({"usages": ["digital signature", "key encipherment", "server auth"]}),
        differences: &["subjectKeyIdentifier", "keyUsage"],
    },
    Shape {
        name: "every-extended-usage",
        csr: || csr(&PKCS_RSA_SHA256, |_| Ok(())),
        spec: || {
            json!({"usages": [
                "signing", "content commitment", "data encipherment", "server auth", "client auth", "code signing",
                "email protection", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping",
                "ocsp signing", "microsoft sgc", "netscape sgc",
            ]})
        },
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "any-usage",
        csr: || csr(&PKCS_ECDSA_P256_SHA256, |_| Ok(())),
        spec: || json!({"usages": ["digital signature", "any"]}),
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "any-usage-beside-another",
        csr: || csr(&PKCS_ECDSA_P256_SHA256, |_| Ok(())),
        spec: || json!({"usages": ["digital signature", "any", "server auth"]}),
        differences: &["refused: usage-not-allowed"],
    },
    Shape {
        name: "usages-in-the-csr-as-well",
        csr: || {
            csr(&PKCS_ECDSA_P256_SHA256, |params| {
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                Ok(())
            })
        },
        spec: || json!({"usages": ["digital signature", "server auth"]}),
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "an-extended-usage-of-the-csr-alone",
        csr: || {
            csr(&PKCS_ECDSA_P256_SHA256, |params| {
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                let private = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 99999, 1]);
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, private];
                Ok(())
            })
        },
        spec: || json!({"usages": ["digital signature", "server auth"]}),
        differences: &["refused: usage-not-allowed"],
    },
    Shape {
        name: "every-kind-of-name",
        csr: || {
            csr(&PKCS_ECDSA_P256_SHA256, |params| {
                let user_principal_name = vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3];
                params.subject_alt_names.extend([
                    SanType::IpAddress("192.0.2.7".parse()?),
                    SanType::IpAddress("2001:db8::7".parse()?),
                    SanType::URI("spiffe://cluster.example/ns/a/sa/b".try_into()?),
                    SanType::Rfc822Name("somebody@web.example".try_into()?),
                    SanType::OtherName((
                        user_principal_name,
                        OtherNameValue::Utf8String("somebody@web.example".into()),
                    )),
                ]);
                Ok(())
            })
        },
        spec: || json!({}),
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "a-subject-beside-the-names",
        csr: || {
            csr(&PKCS_ECDSA_P256_SHA256, |params| {
                let subject = &mut params.distinguished_name;
                subject.push(DnType::CountryName, "NL");
                subject.push(DnType::OrganizationName, "Example");
                subject.push(DnType::OrganizationalUnitName, "Tests");
                subject.push(DnType::CommonName, "web.example");
                Ok(())
            })
        },
        spec: || json!({}),
        differences: &["subject", "subjectKeyIdentifier"],
    },
    Shape {
        name: "a-common-name-alone",
        csr: || {
            csr(&PKCS_ECDSA_P256_SHA256, |params| {
                params.subject_alt_names.clear();
                let subject = &mut params.distinguished_name;
                subject.push(DnType::CommonName, "web.example");
                Ok(())
            })
        },
        spec: || json!({}),
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "a-duration",
        csr: || csr(&PKCS_ECDSA_P256_SHA256, |_| Ok(())),
        spec: || json!({"duration": "36h"}),
        differences: OF_EVERY_LEAF,
    },
    Shape {
        name: "longer-than-the-ca",
        csr: || csr(&PKCS_ECDSA_P256_SHA256, |_| Ok(())),
        spec: || json!({"duration": "80000h"}),
        differences: &["lifetime", "subjectKeyIdentifier"],
    },
    Shape {
        name: "ca",
        csr: || {
            csr(&PKCS_ECDSA_P256_SHA256, |params| {
                params.subject_alt_names.clear();
                let subject = &mut params.distinguished_name;
                subject.push(DnType::CommonName, "A lower CA");
                Ok(())
            })
        },
        spec: || json!({"isCA": true, "usages": ["cert sign", "crl sign"]}),
        differences: &[],
    },
    Shape {
        name: "ca-without-a-subject",
        csr: || csr(&PKCS_ECDSA_P256_SHA256, |_| Ok(())),
        spec: || json!({"isCA": true, "usages": ["cert sign", "crl sign"]}),
        differences: &["subject", "subjectAltName"],
    },
    Shape {
        name: "name-constraints-in-a-leaf",
        csr: || {
            csr(&PKCS_ECDSA_P256_SHA256, |params| {
                let permitted = hex::decode("300da00b300982076578616d706c65")?;
                params.custom_extensions = vec![CustomExtension::from_oid_content(
                    &[2, 5, 29, 30],
                    permitted,
                )];
                Ok(())
            })
        },
        spec: || json!({}),
        differences: &["refused: extension-not-allowed"],
    },
    Shape {
        name: "a-name-that-is-none",
        csr: || {
            csr(&PKCS_ECDSA_P256_SHA256, |params| {
                params.subject_alt_names = vec![SanType::DnsName("-web.example".try_into()?)];
                Ok(())
            })
        },
        spec: || json!({}),
        differences: &["refused: bad-san"],
    },
    Shape {
        name: "an-extension-that-nobody-knows",
        csr: || {
            csr(&PKCS_ECDSA_P256_SHA256, |params| {
                let private = [1, 3, 6, 1, 4, 1, 99999, 2];
                let value = vec![0x05, 0x00];
                params.custom_extensions = vec![CustomExtension::from_oid_content(&private, value)];
                Ok(())
            })
        },
        spec: || json!({}),
        differences: OF_EVERY_LEAF,
    },
];

/// Returns a CSR for `web.example` with an empty subject, after `change`.
fn csr(
    algorithm: &'static SignatureAlgorithm,
    change: fn(&mut CertificateParams) -> Result<()>,
) -> Result<String> {
    let mut params = CertificateParams::new(["web.example".to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    change(&mut params)?;
    let key = KeyPair::generate_for(algorithm)?;
    Ok(params.serialize_request(&key)?.pem()?)
}
