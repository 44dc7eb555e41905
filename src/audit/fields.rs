//! The members of a line's JSON object, serialized once and written into every line that has them.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

/// Members of a JSON object, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// `"name":value`, separated by commas.
    text: Vec<u8>,
    /// Name and place of each value.
    members: Vec<(&'static str, Range<usize>)>,
}

impl Fields {
    /// Adds a member.
    #[must_use]
    pub(super) fn with<T: Serialize + ?Sized>(mut self, name: &'static str, value: &T) -> Self {
        self.push(name, |text| {
            #[expect(
                clippy::expect_used,
                reason = "strings, numbers and lists of them are JSON, and a vector takes any octets"
            )]
            serde_json::to_writer(text, value).expect("the values of a line are JSON");
        });
        self
    }

    /// Adds a member, if there is a value.
    #[must_use]
    pub(super) fn with_some<T: Serialize>(self, name: &'static str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.with(name, &value),
            None => self,
        }
    }

    /// Adds octets, as a string of base64.
    #[must_use]
    pub(super) fn with_base64(self, name: &'static str, octets: &[u8]) -> Self {
        self.with_plain(name, &STANDARD.encode(octets))
    }

    /// Adds a string of characters that JSON does not escape, such as hexadecimal digits.
    #[must_use]
    pub(super) fn with_plain(mut self, name: &'static str, value: &str) -> Self {
        self.push(name, |text| {
            text.push(b'"');
            text.extend_from_slice(value.as_bytes());
            text.push(b'"');
        });
        self
    }

    fn push(&mut self, name: &'static str, value: impl FnOnce(&mut Vec<u8>)) {
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
        let start = self.text.len();
        value(&mut self.text);
        self.members.push((name, start..self.text.len()));
    }

    /// Returns the members as text.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns the names and the JSON texts of the members.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.members.iter().map(|(name, place)| {
            let value = self.text.get(place.clone()).unwrap_or_default();
            (*name, value)
        })
    }
}
