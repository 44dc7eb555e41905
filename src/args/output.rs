//! How commands print records.

use clap::ValueEnum;

/// Format of stdout of commands that print records. Fields of JSON and YAML keep their names and meanings.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum RecordFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// The same object in YAML.
    Yaml,
}
