//! Texts with variables.

use std::{borrow::Cow, fmt};

use super::PatternError;

/// Values of the variables: namespace and name of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variables<'a> {
    /// `{{namespace}}`. `None` if the request belongs to no namespace; a pattern with this variable then covers nothing.
    pub namespace: Option<&'a str>,
    /// `{{name}}`.
    pub name: &'a str,
}

/// A set of variables that a template may use.
pub trait Variable: Copy + PartialEq + 'static {
    /// Every variable with its name, as it is written between braces.
    const NAMED: &'static [(&'static str, Self)];
}

/// A variable in the patterns and templates of profiles and grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestVariable {
    /// `{{namespace}}`.
    Namespace,
    /// `{{name}}`.
    Name,
}

/// A text whose variables are replaced for each request or pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template<V = RequestVariable> {
    parts: Vec<Part<V>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part<V> {
    Text(String),
    Variable(V),
}

impl Variable for RequestVariable {
    const NAMED: &'static [(&'static str, Self)] =
        &[("namespace", Self::Namespace), ("name", Self::Name)];
}

/// Returns the variable of a name.
fn named<V: Variable>(name: &str) -> Option<V> {
    let found = V::NAMED.iter().find(|(one, _)| *one == name);
    found.map(|(_, variable)| *variable)
}

/// Returns the variables as they are written in a template, separated by commas.
fn names<V: Variable>() -> String {
    let braced = V::NAMED.iter().map(|(name, _)| format!("{{{{{name}}}}}"));
    braced.collect::<Vec<_>>().join(", ")
}

impl<V: Variable> Template<V> {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// Fails if the text has braces that are not one of the variables.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let unknown = || PatternError::Variable {
            text: text.to_owned(),
            known: names::<V>(),
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (variable, after) = after.split_once("}}").ok_or_else(unknown)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Variable(named(variable).ok_or_else(unknown)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let stray = |part: &Part<V>| matches!(part, Part::Text(text) if text.contains(['{', '}']));
        if parts.iter().any(stray) {
            return Err(unknown());
        }
        Ok(Self { parts })
    }

    /// Returns the text with each variable replaced by its value.
    #[must_use]
    pub fn replace<'a>(&self, value: impl Fn(V) -> &'a str) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Variable(variable) => text.push_str(value(*variable)),
            }
        }
        text
    }

    /// Returns the text with sample values, so that its syntax can be checked before there is a request.
    #[must_use]
    pub fn sample(&self) -> String {
        self.replace(|_| "x")
    }
}

/// Prints the template as it was written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| {
            f.write_str(match part {
                Part::Text(text) => text,
                Part::Variable(RequestVariable::Namespace) => "{{namespace}}",
                Part::Variable(RequestVariable::Name) => "{{name}}",
            })
        })
    }
}

impl Template {
    /// Returns the text for one request, or `None` if a variable has no value or a value that `fits` rejects.
    #[must_use]
    pub fn expand(
        &self,
        variables: Variables<'_>,
        fits: impl Fn(&str) -> bool,
    ) -> Option<Cow<'_, str>> {
        if let [Part::Text(text)] = self.parts.as_slice() {
            return Some(Cow::Borrowed(text));
        }
        let mut expanded = String::new();
        for part in &self.parts {
            let value = match part {
                Part::Text(text) => text,
                Part::Variable(RequestVariable::Namespace) => {
                    variables.namespace.filter(|value| fits(value))?
                }
                Part::Variable(RequestVariable::Name) => {
                    Some(variables.name).filter(|value| fits(value))?
                }
            };
            expanded.push_str(value);
        }
        Some(Cow::Owned(expanded))
    }

    /// Returns this template with its variables replaced for one request, so that comparing it with many names replaces
    /// them only once. Returns `None` in the same cases as [`expand`](Self::expand).
    pub(super) fn bind(
        &self,
        variables: Variables<'_>,
        fits: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let text = self.expand(variables, fits)?.into_owned();
        Some(Self {
            parts: vec![Part::Text(text)],
        })
    }

    /// Returns whether the template has `{{namespace}}`.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.parts
            .contains(&Part::Variable(RequestVariable::Namespace))
    }
}
