//! Gives the attributes of a subject the string types of their definitions (RFC 5280, appendix A.1).

use der::{Encode as _, Tag, asn1::AnyRef};

use super::{
    Attribute, Name, NameError,
    comparable::text,
    is_printable,
    types::{may_have, string_type},
};

/// Rule for an attribute of a CSR's subject whose string type is not that of its definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strings {
    /// The certificate has the same text with the right type.
    #[default]
    Reencode,
    /// The certificate has the octets of the CSR.
    Verbatim,
    /// The request is refused.
    Refuse,
}

impl Name {
    /// Applies the rule to the name. Attributes that already have the right string type keep their octets.
    ///
    /// # Errors
    ///
    /// A text cannot be read, or the right type cannot hold it, or the rule is to refuse.
    pub(in crate::issuance) fn with_strings(&self, rule: Strings) -> Result<Self, NameError> {
        let mut stray = self.rdns.iter().flatten().filter(|it| !it.has_right_type());
        match (rule, stray.next()) {
            (Strings::Verbatim, _) | (_, None) => Ok(self.clone()),
            (Strings::Refuse, Some(stray)) => Err(NameError::WrongType {
                attribute: stray.label(),
                found: stray.tag,
                right: string_type(&stray.oid),
            }),
            (Strings::Reencode, Some(stray)) => {
                let rdns = self.rdns.iter().map(|rdn| reencoded(rdn));
                let rdns = rdns.collect::<Result<Vec<_>, _>>()?.concat();
                AnyRef::new(Tag::Sequence, &rdns)
                    .and_then(|name| Self::parse(&name.to_der()?))
                    .map_err(|_| NameError::String(stray.label()))
            }
        }
    }
}

/// Returns the DER of an RDN with the right string types. A changed RDN is sorted again (X.690, clause 11.6).
fn reencoded(rdn: &[Attribute]) -> Result<Vec<u8>, NameError> {
    let unencodable = || NameError::String(rdn.first().map(Attribute::label).unwrap_or_default());
    let mut attributes = Vec::with_capacity(rdn.len());
    for attribute in rdn {
        let der = attribute.with_right_type()?.to_der();
        attributes.push(der.map_err(|_| unencodable())?);
    }
    if !rdn.iter().all(Attribute::has_right_type) {
        attributes.sort();
    }
    AnyRef::new(Tag::Set, &attributes.concat())
        .and_then(|set| set.to_der())
        .map_err(|_| unencodable())
}

impl Attribute {
    fn has_right_type(&self) -> bool {
        may_have(&self.oid, self.tag)
    }

    fn with_right_type(&self) -> Result<Self, NameError> {
        if self.has_right_type() {
            return Ok(self.clone());
        }
        let (right, attribute) = (string_type(&self.oid), self.label());
        let text = self
            .unambiguous_text()
            .ok_or_else(|| NameError::String(attribute.clone()))?;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "ASN.1 tags are open-ended; string_type returns three of them"
        )]
        let holds = match right {
            Tag::PrintableString => text.bytes().all(is_printable),
            Tag::Ia5String => text.is_ascii(),
            _ => true,
        };
        match holds {
            true => Ok(Self {
                oid: self.oid.clone(),
                tag: right,
                value: text.into_bytes(),
            }),
            false => Err(NameError::CannotHold { attribute, right }),
        }
    }

    /// Returns the text of a string if it is unambiguous. Writers of TeletexString disagree about characters outside ASCII.
    fn unambiguous_text(&self) -> Option<String> {
        let ascii_only = matches!(
            self.tag,
            Tag::TeletexString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString
        );
        let printable_only = self.tag == Tag::PrintableString;
        text(self.tag, &self.value).filter(|text| {
            (!ascii_only || text.is_ascii()) && (!printable_only || text.bytes().all(is_printable))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::testing::*, *};

    const C: &str = "2.5.4.6";
    const CN: &str = "2.5.4.3";
    const O: &str = "2.5.4.10";
    const SERIAL: &str = "2.5.4.5";
    const DC: &str = "0.9.2342.19200300.100.1.25";
    const MAIL: &str = "1.2.840.113549.1.9.1";

    /// Type, string type and octets, then the right string type and the octets with it.
    type Row = (&'static str, Tag, &'static [u8], Tag, &'static [u8]);

    fn of(kind: &str, tag: Tag, value: &[u8]) -> Name {
        Name::parse(&name(&[&[(kind, tag, value)]])).unwrap()
    }

    #[test]
    fn each_attribute_gets_the_string_type_of_its_definition() {
        use Tag::{
            BmpString, Ia5String, NumericString, PrintableString, TeletexString, Utf8String,
            VisibleString,
        };
        let table: &[Row] = &[
            (C, Utf8String, b"DE", PrintableString, b"DE"),
            (C, Ia5String, b"DE", PrintableString, b"DE"),
            (SERIAL, Utf8String, b"4711", PrintableString, b"4711"),
            (SERIAL, NumericString, b"4711", PrintableString, b"4711"),
            (DC, Utf8String, b"example", Ia5String, b"example"),
            (DC, PrintableString, b"example", Ia5String, b"example"),
            (MAIL, Utf8String, b"a@b.example", Ia5String, b"a@b.example"),
            (
                MAIL,
                VisibleString,
                b"a@b.example",
                Ia5String,
                b"a@b.example",
            ),
            (CN, Ia5String, b"a*b@c", Utf8String, b"a*b@c"),
            (O, Ia5String, b"Shop", Utf8String, b"Shop"),
            (O, TeletexString, b"Shop", Utf8String, b"Shop"),
            (O, BmpString, b"\0S\0\xfc", Utf8String, "S\u{fc}".as_bytes()),
            ("2.5.4.46", Utf8String, b"q", PrintableString, b"q"),
        ];
        for (kind, tag, value, right, expected) in table {
            let given = of(kind, *tag, value);
            let reencoded = given.with_strings(Strings::Reencode).unwrap();
            assert_eq!(reencoded, of(kind, *right, expected), "{given:?}");
            assert_eq!(given.is_same_as(&reencoded), Some(true), "{given:?}");
            assert_eq!(given.with_strings(Strings::Verbatim).unwrap(), given);
            assert!(matches!(
                given.with_strings(Strings::Refuse),
                Err(NameError::WrongType { found, right: wanted, .. }) if found == *tag && wanted == *right
            ));
        }
    }

    #[test]
    fn a_value_of_the_right_type_keeps_its_octets_under_every_rule() {
        for given in [
            of(C, Tag::PrintableString, b"DE"),
            of(CN, Tag::Utf8String, b"x"),
            of(CN, Tag::PrintableString, b"x"),
            of(DC, Tag::Ia5String, b"x"),
            // No definition says what an unknown attribute must be.
            of("1.2.3.4", Tag::Ia5String, b"x"),
            // Not sorted.
            Name::parse(&name(&[&[
                (O, Tag::Utf8String, b"z"),
                (CN, Tag::Utf8String, b"a"),
            ]]))
            .unwrap(),
        ] {
            for rule in [Strings::Reencode, Strings::Verbatim, Strings::Refuse] {
                assert_eq!(given.with_strings(rule).unwrap(), given, "{rule:?}");
            }
        }
    }

    #[test]
    fn a_text_that_the_right_type_cannot_hold_is_an_error() {
        let cannot_hold: &[(&str, Tag, &[u8])] = &[
            (C, Tag::Utf8String, "\u{dc}S".as_bytes()),
            (SERIAL, Tag::Utf8String, b"a_b"),
            (DC, Tag::Utf8String, "b\u{fc}cher".as_bytes()),
            (MAIL, Tag::Utf8String, "\u{fc}@b.example".as_bytes()),
        ];
        for (kind, tag, value) in cannot_hold {
            let error = of(kind, *tag, value)
                .with_strings(Strings::Reencode)
                .unwrap_err();
            assert!(matches!(error, NameError::CannotHold { .. }), "{error}");
        }
        let unreadable: &[(&str, Tag, &[u8])] = &[
            (O, Tag::TeletexString, b"M\xfcller"),
            (O, Tag::BmpString, b"a"),
            (C, Tag::Utf8String, b"\xff"),
            (CN, Tag::Ia5String, b"\xfc"),
            (CN, Tag::Integer, b"\x01"),
            (MAIL, Tag::PrintableString, b"a@b.example"),
        ];
        for (kind, tag, value) in unreadable {
            let error = of(kind, *tag, value)
                .with_strings(Strings::Reencode)
                .unwrap_err();
            assert!(matches!(error, NameError::String(_)), "{error}");
        }
    }

    #[test]
    fn a_set_whose_attributes_change_is_sorted_again_and_the_others_are_left() {
        let unsorted: &[(&str, Tag, &[u8])] =
            &[(O, Tag::Utf8String, b"z"), (CN, Tag::Utf8String, b"a")];
        let given = name(&[
            unsorted,
            &[(C, Tag::Utf8String, b"DE"), (CN, Tag::Utf8String, b"a")],
        ]);
        let expected = name(&[
            unsorted,
            &[
                (CN, Tag::Utf8String, b"a"),
                (C, Tag::PrintableString, b"DE"),
            ],
        ]);
        let reencoded = Name::parse(&given).unwrap().with_strings(Strings::Reencode);
        assert_eq!(reencoded.unwrap().der(), expected);
    }
}
