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

/// A text in which `{{namespace}}` and `{{name}}` are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Namespace,
    Name,
}

impl Template {
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
            parts.push(match variable {
                "namespace" => Part::Namespace,
                "name" => Part::Name,
                _ => return Err(unknown()),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let stray = |part: &Part| matches!(part, Part::Text(text) if text.contains(['{', '}']));
        if parts.iter().any(stray) {
            return Err(unknown());
        }
        Ok(Self { parts })
    }

    /// The text with the variables replaced.
    #[must_use]
    pub fn expand(&self, variables: Variables<'_>) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Namespace => variables.namespace.unwrap_or_default(),
                Part::Name => variables.name,
            })
            .collect()
    }

    /// Whether it has `{{namespace}}`.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.parts.contains(&Part::Namespace)
    }

    /// The text as it might become, for checks of syntax before there is a request.
    #[must_use]
    pub fn sample(&self) -> String {
        self.expand(Variables {
            namespace: Some("x"),
            name: "x",
        })
    }
}
