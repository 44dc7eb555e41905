//! Patterns of attribute values of subjects.

use std::str::FromStr;

use super::{PatternError, Template, Variables};

/// Pattern of attribute values: a value itself or, with a star at the end, every value with this beginning. Compared
/// character by character, without folding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePattern {
    text: Template,
    /// Whether other characters may follow.
    open: bool,
}

impl ValuePattern {
    /// Returns whether the pattern covers the value.
    #[must_use]
    pub fn covers(&self, value: &str, variables: Variables<'_>) -> bool {
        let text = self.text.expand(variables, |text| !text.is_empty());
        text.and_then(|text| value.strip_prefix(&*text))
            .is_some_and(|rest| self.open || rest.is_empty())
    }

    /// Returns whether the pattern depends on the namespace of the request.
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
