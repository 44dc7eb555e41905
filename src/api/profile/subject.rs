//! `spec.profile.subject`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::each;
use crate::issuance::{
    name::{self, Strings as Rule},
    pattern::Template,
    profile::{ProfileError, SubjectMode as Mode, SubjectRules},
};

/// Treatment of the CSR's subject. Attributes are named CN, O, OU, C, ST, L, STREET, postalCode, serialNumber, SN,
/// GN, title, pseudonym, UID, DC, emailAddress, or by a dotted object identifier.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SubjectSpec {
    /// Verbatim takes the CSR's subject. Fixed builds the subject from `fixed` and the CSR's common name. Omit always
    /// leaves it empty. Default: Verbatim.
    pub mode: SubjectMode,
    /// What happens to an attribute of the CSR's subject whose string type RFC 5280 does not allow for it, such as a
    /// country that is a UTF8String. Reencode keeps the text and writes it with the right type; a text that the right
    /// type cannot hold is refused. Verbatim keeps the octets. Refuse refuses the request. Default: Reencode.
    pub strings: Strings,
    /// Attributes that a CSR's subject may have; others are refused. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 100)))]
    pub allowed_attributes: Option<Vec<String>>,
    /// With Fixed, the attributes and their values. In values, `{{namespace}}` and `{{name}}` stand for the namespace and
    /// the name of the request. The order of attributes is C, ST, L, O, OU, then the others. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 50,
        "additionalProperties" = {
            "type": "array",
            "maxItems": 20,
            "items": {"type": "string", "maxLength": 1000}
        }
    ))]
    pub fixed: BTreeMap<String, Vec<String>>,
    /// Whether every certificate must have a subject alternative name. Default: false.
    #[serde(rename = "requireSAN")]
    pub require_san: bool,
}

/// Treatment of the CSR's subject.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum SubjectMode {
    /// The subject is that of the CSR.
    #[default]
    Verbatim,
    /// The subject has the issuer's attributes and the CSR's common name.
    Fixed,
    /// The subject is empty.
    Omit,
}

/// What happens to attributes with a wrong string type.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Strings {
    /// The text stays, and the type becomes the right one.
    #[default]
    Reencode,
    /// The octets stay.
    Verbatim,
    /// The request is refused.
    Refuse,
}

/// Attributes that come first, from the widest to the narrowest.
const ORDER: [&str; 5] = ["C", "ST", "L", "O", "OU"];

impl TryFrom<SubjectSpec> for SubjectRules {
    type Error = ProfileError;

    fn try_from(spec: SubjectSpec) -> Result<Self, ProfileError> {
        let SubjectSpec {
            mode,
            strings,
            allowed_attributes,
            fixed,
            require_san,
        } = spec;
        if mode != SubjectMode::Fixed && !fixed.is_empty() {
            return Err(ProfileError::new(
                "subject.fixed",
                "goes with mode Fixed only",
            ));
        }
        let attribute = |field: &str, text: &str| {
            name::attribute_type(text).ok_or_else(|| {
                ProfileError::new(field, format!("{text:?} is not an attribute of subjects"))
            })
        };
        let mut fixed: Vec<_> = fixed.into_iter().collect();
        fixed.sort_by_key(|(text, _)| {
            let known = ORDER.iter().position(|known| known == text);
            known.unwrap_or(ORDER.len())
        });
        let mut attributes = Vec::new();
        for (text, values) in fixed {
            let field = format!("subject.fixed.{text}");
            if text == "CN" {
                return Err(ProfileError::new(
                    field,
                    "the common name is always the CSR's",
                ));
            }
            let oid = attribute(&field, &text)?;
            let read = |field: &str, value: &str| {
                Template::parse(value).map_err(|error| ProfileError::new(field, error))
            };
            let values = each(&field, &values, read)?;
            attributes.extend(values.into_iter().map(|value| (oid.clone(), value)));
        }
        Ok(Self {
            mode: match mode {
                SubjectMode::Verbatim => Mode::Verbatim,
                SubjectMode::Fixed => Mode::Fixed(attributes),
                SubjectMode::Omit => Mode::Omit,
            },
            strings: match strings {
                Strings::Reencode => Rule::Reencode,
                Strings::Verbatim => Rule::Verbatim,
                Strings::Refuse => Rule::Refuse,
            },
            allowed: allowed_attributes
                .map(|texts| each("subject.allowedAttributes", &texts, attribute))
                .transpose()?,
            require_san,
        })
    }
}
