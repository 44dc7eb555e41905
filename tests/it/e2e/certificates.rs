//! Tests Certificates of every shape in cert-manager's conformance suite, with an issuer of each kind.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use x509_parser::der_parser::asn1_rs::{FromDer as _, Utf8String};

use super::{
    issue,
    issued::{Issued, names, usages},
    validations::Validation,
};

/// Defines one test per row: its rule, the `spec` of a Certificate for a domain, and additional validations.
macro_rules! rows {
    ($($rule:ident: $spec:expr, $also:expr;)*) => {$(
        #[tokio::test]
        async fn $rule() -> Result<()> {
            issue(stringify!($rule), $spec, $also).await
        }
    )*};
}

const NOTHING: &[Validation] = &[];

rows! {
    a_dns_name_alone_gets_a_certificate: |domain| json!({"dnsNames": [domain]}), NOTHING;
    a_ca_gets_a_ca_certificate: |domain| json!({"isCA": true, "dnsNames": [domain]}), &[CERT_SIGN];
    an_ecdsa_key_with_a_dns_name: |domain| json!({"dnsNames": [domain], "privateKey": ecdsa()}), NOTHING;
    an_ed25519_key_with_a_dns_name: |domain| json!({"dnsNames": [domain], "privateKey": ed25519()}), NOTHING;
    a_common_name_alone: |_| json!({"commonName": COMMON_NAME}), NOTHING;
    other_names_beside_an_email_address: |_| other_names(), &[OTHER_NAMES];
    a_literal_subject_keeps_its_sequence: literal_subject, &[LITERAL_SUBJECT];
    an_ecdsa_key_with_a_common_name: |_| json!({"commonName": COMMON_NAME, "privateKey": ecdsa()}), NOTHING;
    an_ed25519_key_with_a_common_name: |_| json!({"commonName": COMMON_NAME, "privateKey": ed25519()}), NOTHING;
    an_ip_address_alone: |_| json!({"ipAddresses": ["127.0.0.1"]}), NOTHING;
    an_ip_address_beside_a_dns_name: |domain| json!({"ipAddresses": ["127.0.0.1"], "dnsNames": [domain]}), NOTHING;
    an_ip_address_beside_a_common_name: |_| json!({"ipAddresses": ["127.0.0.1"], "commonName": COMMON_NAME}), NOTHING;
    an_email_address_alone: |_| json!({"emailAddresses": ["alice@example.com"]}), NOTHING;
    a_uri_beside_a_common_name: |_| json!({"uris": [URI], "commonName": COMMON_NAME}), NOTHING;
    two_dns_names_of_which_one_is_the_common_name: two_names, NOTHING;
    a_dns_name_beside_another_common_name: |domain| {
        json!({"dnsNames": [format!("one.{domain}")], "commonName": format!("other.{domain}")})
    }, NOTHING;
    a_duration_is_kept: |domain| json!({"dnsNames": [domain], "duration": "896h"}), NOTHING;
    a_wildcard_alone: |domain| json!({"dnsNames": [format!("*.{domain}")]}), NOTHING;
    a_wildcard_beside_its_apex: |domain| json!({"dnsNames": [format!("*.{domain}"), domain]}), NOTHING;
    a_uri_alone_and_no_subject: |_| json!({"uris": [URI]}), &[NO_SUBJECT];
    usages_of_the_requesters_choice: |domain| {
        let usages = ["signing", "data encipherment", "server auth", "client auth"];
        json!({"dnsNames": [domain], "usages": usages})
    }, &[USAGES];
    a_label_of_63_characters: |domain| json!({"dnsNames": [format!("{}.{domain}", "a".repeat(63))]}), NOTHING;

    // Tests that cert-manager has for its own CA issuer in addition.
    additional_output_formats: |domain| {
        json!({"dnsNames": [domain], "additionalOutputFormats": [{"type": "DER"}, {"type": "CombinedPEM"}]})
    }, NOTHING;
    a_duration_of_35_days: |domain| json!({"dnsNames": [domain], "duration": "840h"}), NOTHING;
    a_duration_of_more_than_a_year: |domain| json!({"dnsNames": [domain], "duration": "10000h"}), NOTHING;
    a_subject_beside_a_dns_name: |domain| {
        let subject = json!({"organizations": ["Example"], "countries": ["NL"], "organizationalUnits": ["Tests"]});
        json!({"dnsNames": [domain], "subject": subject})
    }, NOTHING;
    an_rsa_key_of_4096_bits: |domain| {
        json!({"dnsNames": [domain], "privateKey": {"algorithm": "RSA", "size": 4096, "encoding": "PKCS8"}})
    }, NOTHING;
    an_ecdsa_key_on_p521: |domain| {
        json!({"dnsNames": [domain], "privateKey": {"algorithm": "ECDSA", "size": 521}})
    }, NOTHING;
}

const COMMON_NAME: &str = "test-common-name-abcdefghij";
const URI: &str = "spiffe://cluster.local/ns/sandbox/sa/foo";
/// userPrincipalName.
const UPN: &str = "1.3.6.1.4.1.311.20.2.3";

fn ecdsa() -> Value {
    json!({"algorithm": "ECDSA"})
}

fn ed25519() -> Value {
    json!({"algorithm": "Ed25519"})
}

fn two_names(domain: &str) -> Value {
    json!({"commonName": domain, "dnsNames": [domain, format!("other.{domain}")]})
}

fn other_names() -> Value {
    json!({
        "commonName": "someCN",
        "emailAddresses": ["email@domain.test"],
        "otherNames": [
            {"oid": UPN, "utf8Value": "upn@domain.test"},
            {"oid": UPN, "utf8Value": "upn@domain2.test"},
        ],
    })
}

fn literal_subject(domain: &str) -> Value {
    let host = format!("*.{domain}");
    let subject = format!("CN={host},OU=FooLong,OU=Bar,OU=Baz,OU=Dept.,O=Corp.");
    json!({"dnsNames": [host], "literalSubject": subject})
}

const OTHER_NAMES: Validation = (
    "the names are the two other names and the address, and no more",
    |issued| {
        let names = names(&issued.leaf()?)?;
        let mut values = BTreeSet::new();
        for (kind, value) in &names.other {
            ensure!(kind == UPN, "one is of type {kind}");
            // The value has an explicit tag.
            let inner = value.get(2..).context("a value is empty")?;
            values.insert(Utf8String::from_der(inner)?.1.string());
        }
        let wanted = BTreeSet::from(["upn@domain.test".to_owned(), "upn@domain2.test".to_owned()]);
        ensure!(values == wanted, "{values:?}");
        ensure!(
            names.dns.is_empty() && names.ip.is_empty() && names.uri.is_empty(),
            "{names:?}"
        );
        ensure!(names.further == 0, "{names:?}");
        Ok(())
    },
);

/// A literal subject has the most specific name first (RFC 4514), a certificate the most general one.
const LITERAL_SUBJECT: Validation = (
    "the subject has these names in this sequence, each alone",
    |issued| {
        let leaf = issued.leaf()?;
        let mut found = Vec::new();
        for rdn in leaf.subject().iter_rdn() {
            let attributes: Vec<_> = rdn.iter().collect();
            let [attribute] = attributes.as_slice() else {
                anyhow::bail!(
                    "a relative distinguished name has {} attributes",
                    attributes.len()
                );
            };
            found.push((
                attribute.attr_type().to_id_string(),
                attribute.as_str()?.to_owned(),
            ));
        }
        let literal = issued
            .spec("literalSubject")
            .as_str()
            .context("no literal subject")?;
        let types = [("CN", "2.5.4.3"), ("OU", "2.5.4.11"), ("O", "2.5.4.10")];
        let mut wanted = Vec::new();
        for part in literal.rsplit(',') {
            let (short, value) = part.split_once('=').context("no attribute")?;
            let (_, oid) = types
                .iter()
                .find(|(known, _)| *known == short)
                .context("unknown attribute type")?;
            wanted.push(((*oid).to_owned(), value.to_owned()));
        }
        ensure!(found == wanted, "{found:?} instead of {wanted:?}");
        Ok(())
    },
);

const NO_SUBJECT: Validation = (
    "the subject is empty and the names are critical",
    |issued| {
        let leaf = issued.leaf()?;
        ensure!(
            leaf.subject().iter_rdn().next().is_none(),
            "the subject is {}",
            leaf.subject()
        );
        let names = leaf.subject_alternative_name()?.context("no names")?;
        ensure!(names.critical, "the names are not critical");
        Ok(())
    },
);

const CERT_SIGN: Validation = ("it may sign certificates, and has a subject", |issued| {
    let leaf = issued.leaf()?;
    let (_, bits) = usages(&leaf)?;
    ensure!(bits == BTreeSet::from([0, 2, 5]), "{bits:?}");
    ensure!(
        leaf.subject().iter_rdn().next().is_some(),
        "the certificate has no subject"
    );
    Ok(())
});

const USAGES: Validation = ("the usages are those asked for", |issued: &Issued| {
    let (purposes, bits) = usages(&issued.leaf()?)?;
    let wanted = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"].map(str::to_owned);
    ensure!(purposes == BTreeSet::from(wanted), "{purposes:?}");
    ensure!(bits == BTreeSet::from([0, 3]), "{bits:?}");
    Ok(())
});
