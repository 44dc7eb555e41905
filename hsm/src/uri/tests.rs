//! Tests of what a URI selects and which URIs are refused.

use proptest::prelude::*;

use super::{Uri, UriError};
use crate::protocol::TokenSelector;

fn error(uri: &str) -> UriError {
    uri.parse::<Uri>().unwrap_err()
}

#[test]
fn a_token_with_label_and_serial_number_is_selected_by_both() {
    let uri: Uri = "PKCS11:serial=0a1b;token=issuing".parse().unwrap();
    assert_eq!(
        uri.token(),
        Some(TokenSelector {
            label: Some("issuing".into()),
            serial: Some("0a1b".into()),
            ..TokenSelector::default()
        })
    );
}

#[test]
fn a_token_may_be_selected_by_its_slot() {
    let uri: Uri = "pkcs11:slot-description=A%20reader;slot-id=17"
        .parse()
        .unwrap();
    assert_eq!(
        uri.token(),
        Some(TokenSelector {
            slot_description: Some("A reader".into()),
            slot_id: Some(17),
            ..TokenSelector::default()
        })
    );
}

#[test]
fn an_id_is_octets_and_never_hexadecimal_text() {
    let uri: Uri = "pkcs11:id=3132".parse().unwrap();
    assert_eq!(uri.key().id.as_deref(), Some(&b"3132"[..]));
}

#[test]
fn a_pin_is_refused_and_not_repeated_in_the_error() {
    let error = error("pkcs11:object=ca?pin-value=secret123");
    assert!(matches!(&error, UriError::Refused { name, .. } if name == "pin-value"));
    assert!(!format!("{error} {error:?}").contains("secret123"));
}

#[test]
fn attributes_that_name_a_library_or_a_pin_file_are_refused() {
    for uri in [
        "pkcs11:object=ca?module-path=/evil.so",
        "pkcs11:module-path=/evil.so;object=ca",
        "pkcs11:object=ca?module-name=evil",
        "pkcs11:object=ca?pin-source=file:/pin",
        "pkcs11:object=ca;slot-manufacturer=x",
        "pkcs11:object=ca;manufacturer=x",
        "pkcs11:object=ca;model=x",
        "pkcs11:object=ca;library-version=1",
        "pkcs11:object=ca;pin-value=1",
    ] {
        assert!(matches!(error(uri), UriError::Refused { .. }), "{uri}");
    }
}

#[test]
fn every_malformed_uri_has_its_own_error() {
    let name = String::from;
    for (uri, expected) in [
        ("", UriError::Scheme),
        ("pkcs11", UriError::Scheme),
        ("https:object=ca", UriError::Scheme),
        ("pkcs11:", UriError::Empty),
        ("pkcs11:type=private", UriError::Empty),
        ("pkcs11:type=cert;object=ca", UriError::Type),
        ("pkcs11:object=a;object=a", UriError::Twice(name("object"))),
        (
            "pkcs11:type=private;type=private;id=a",
            UriError::Twice(name("type")),
        ),
        ("pkcs11:object=a;", UriError::NotAnAttribute(name(""))),
        ("pkcs11:object", UriError::NotAnAttribute(name("object"))),
        ("pkcs11:object=", UriError::NoValue(name("object"))),
        ("pkcs11:object=%zz", UriError::Encoding(name("object"))),
        ("pkcs11:object=a%4", UriError::Encoding(name("object"))),
        ("pkcs11:object=a b", UriError::Encoding(name("object"))),
        ("pkcs11:object=ü", UriError::Encoding(name("object"))),
        ("pkcs11:object=a/b", UriError::Encoding(name("object"))),
        ("pkcs11:object=%ff", UriError::NotText(name("object"))),
        ("pkcs11:slot-id=-1", UriError::NotANumber(name("slot-id"))),
        ("pkcs11:slot-id=+1", UriError::NotANumber(name("slot-id"))),
        ("pkcs11:slot-id=x", UriError::NotANumber(name("slot-id"))),
        (
            "pkcs11:slot-id=18446744073709551616",
            UriError::NotANumber(name("slot-id")),
        ),
        ("pkcs11:Object=a", UriError::Unknown(name("Object"))),
        ("pkcs11:object=a;x-new=1", UriError::Unknown(name("x-new"))),
        ("pkcs11:object=a?", UriError::Unknown(name(""))),
    ] {
        assert_eq!(error(uri), expected, "{uri}");
    }
}

fn uri() -> impl Strategy<Value = Uri> {
    let text = || proptest::option::of(".{1,12}");
    let id = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..12));
    let token = (text(), text(), text(), any::<Option<u64>>());
    let token = token.prop_map(|(label, serial, slot_description, slot_id)| TokenSelector {
        label,
        serial,
        slot_description,
        slot_id,
    });
    (token, text(), id)
        .prop_map(|(token, object, id)| Uri { token, object, id })
        .prop_filter("names something", |uri| *uri != Uri::default())
}

proptest! {
    #[test]
    fn a_written_uri_is_parsed_to_the_same_uri(uri in uri()) {
        prop_assert_eq!(uri.to_string().parse::<Uri>(), Ok(uri));
    }

    #[test]
    fn an_id_is_the_same_whichever_characters_are_encoded(
        octets in proptest::collection::vec((any::<u8>(), any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut value = String::new();
        for (octet, encoded, upper) in &octets {
            match (octet.is_ascii_alphanumeric() && !encoded, upper) {
                (true, _) => value.push(char::from(*octet)),
                (false, true) => value.push_str(&format!("%{octet:02X}")),
                (false, false) => value.push_str(&format!("%{octet:02x}")),
            }
        }
        let uri: Uri = format!("pkcs11:id={value}").parse().unwrap();
        let expected: Vec<u8> = octets.iter().map(|(octet, ..)| *octet).collect();
        prop_assert_eq!(uri.key().id, Some(expected));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".*", attributes in "[a-z=;?&%0-9-]*") {
        // Both outcomes are correct; only a panic is wrong.
        drop(text.parse::<Uri>());
        drop(format!("pkcs11:{attributes}").parse::<Uri>());
    }

    #[test]
    fn a_uri_with_a_query_is_never_accepted(uri in uri(), query in "[a-z=&-]*") {
        let with_query = format!("{uri}?{query}");
        prop_assert!(with_query.parse::<Uri>().is_err());
    }
}
