//! Patterns of attribute values of subjects.

use std::str::FromStr;

use super::{PatternError, Template, Variables};

/// A value itself, or with a star at its end every value that begins so. Compared character by character: what verifiers
/// and people read is what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePattern {
    text: Template,
    /// Whether anything may follow.
    open: bool,
}

impl ValuePattern {
    /// Whether the value is covered.
    #[must_use]
    pub fn covers(&self, value: &str, variables: Variables<'_>) -> bool {
        let text = self.text.expand(variables, |text| !text.is_empty());
        text.and_then(|text| value.strip_prefix(&*text))
            .is_some_and(|rest| self.open || rest.is_empty())
    }

    /// Whether it depends on the namespace of the request.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.text.names_namespace()
    }
}

impl FromStr for ValuePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (start, open) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        let template = Template::parse(start)?;
        if text.is_empty() || start.contains('*') || start.chars().any(char::is_control) {
            return Err(PatternError::Value(text.to_owned()));
        }
        Ok(Self {
            text: template,
            open,
        })
    }
}
