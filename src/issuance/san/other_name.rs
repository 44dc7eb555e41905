//! `otherName`: a type and a value. The definition of the type determines the encoding of the value.

use der::{Decode as _, Tag, TagNumber, Tagged as _, asn1::AnyRef};

use super::SanError;
use crate::issuance::{
    oid::Oid,
    raw::{self, whole},
};

/// A type of `otherName` whose value is a string: its name for people, and the only string type that it allows.
struct Text {
    kind: Oid,
    name: &'static str,
    tag: Tag,
}

const fn text(kind: &str, name: &'static str, tag: Tag) -> Text {
    Text {
        kind: Oid::new_unwrap(kind),
        name,
        tag,
    }
}

/// The known types whose value is a string. We refuse a value of another string type than the definition requires,
/// because some verifiers read it and others ignore it.
const TEXTS: [Text; 5] = [
    // MS-WCCE and MS-PKCA: the account that a smart card logs on.
    text(
        "1.3.6.1.4.1.311.20.2.3",
        "userPrincipalName",
        Tag::Utf8String,
    ),
    // RFC 6120, section 13.7.1.4.
    text("1.3.6.1.5.5.7.8.5", "xmppAddr", Tag::Utf8String),
    // RFC 4985, section 2.
    text("1.3.6.1.5.5.7.8.7", "dnsSRV", Tag::Ia5String),
    // RFC 7585, section 2.2.
    text("1.3.6.1.5.5.7.8.8", "naiRealm", Tag::Utf8String),
    // RFC 9598, section 3.
    text("1.3.6.1.5.5.7.8.9", "smtpUTF8Mailbox", Tag::Utf8String),
];

/// Reads `SEQUENCE { type-id, value [0] EXPLICIT ANY }`, whose tag is replaced by that of the field. Returns the type.
pub(super) fn read(content: &[u8]) -> Result<Oid, SanError> {
    let explicit = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(0),
    };
    let (kind, value) = whole(content, |reader| {
        let kind = Oid::decode(reader)?;
        let value = AnyRef::from_der(raw::tlv(reader, explicit)?)?.value();
        Ok((kind, AnyRef::from_der(value)?))
    })
    .map_err(SanError::Encoding)?;
    match TEXTS.iter().find(|text| text.kind == kind) {
        Some(text) if !text.holds(value) => Err(SanError::OtherName {
            name: text.name,
            tag: text.tag,
        }),
        Some(_) | None => Ok(kind),
    }
}

impl Text {
    fn holds(&self, value: AnyRef<'_>) -> bool {
        let text = std::str::from_utf8(value.value());
        value.tag() == self.tag
            && text.is_ok_and(|text| {
                !text.is_empty()
                    && !text.chars().any(char::is_control)
                    && (self.tag == Tag::Utf8String || text.is_ascii())
            })
    }
}
