//! Text with variables.

use super::PatternError;

/// What the variables stand for: of the request, its namespace and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variables<'a> {
    /// `{{namespace}}`; `None` where the request belongs to none, and then a profile that names it refuses
    /// ([`Profile::admit`](crate::issuance::Profile::admit)).
    pub namespace: Option<&'a str>,
    /// `{{name}}`.
    pub name: &'a str,
}

/// A variable that a template may have.
pub trait Variable: Copy + PartialEq {
    /// The variable of this name.
    fn named(name: &str) -> Option<Self>;
}

/// A variable of profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestVariable {
    /// `{{namespace}}`.
    Namespace,
    /// `{{name}}`.
    Name,
}

/// A text in which variables are replaced.
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
    fn named(name: &str) -> Option<Self> {
        match name {
            "namespace" => Some(Self::Namespace),
            "name" => Some(Self::Name),
            _ => None,
        }
    }
}

impl<V: Variable> Template<V> {
    /// Reads a text.
    ///
    /// # Errors
    ///
    /// It has braces that are not one of the variables.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let unknown = || PatternError::Variable(text.to_owned());
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (variable, after) = after.split_once("}}").ok_or_else(unknown)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Variable(V::named(variable).ok_or_else(unknown)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let stray = |part: &Part<V>| matches!(part, Part::Text(text) if text.contains(['{', '}']));
        if parts.iter().any(stray) {
            return Err(unknown());
        }
        Ok(Self { parts })
    }

    /// The text with each variable replaced by what it stands for.
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

    /// The text as it might become, for checks of syntax before there is a request.
    #[must_use]
    pub fn sample(&self) -> String {
        self.replace(|_| "x")
    }
}

impl Template {
    /// The text for one request.
    #[must_use]
    pub fn expand(&self, variables: Variables<'_>) -> String {
        self.replace(|variable| match variable {
            RequestVariable::Namespace => variables.namespace.unwrap_or_default(),
            RequestVariable::Name => variables.name,
        })
    }

    /// Whether it has `{{namespace}}`.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.parts
            .contains(&Part::Variable(RequestVariable::Namespace))
    }
}
