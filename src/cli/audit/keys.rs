//! The audit keys on the command line and in files.

use std::fs;

use anyhow::Context as _;

use crate::{args::AuditKeys, audit::note::VerifierKey, message::shown};

/// Parses the keys.
///
/// # Errors
/// A file cannot be read, or a text is no key.
pub(super) fn keys(args: &AuditKeys) -> anyhow::Result<Vec<VerifierKey>> {
    let AuditKeys { key, key_file } = args;
    let mut texts = key.clone();
    for file in key_file {
        let text = fs::read_to_string(file)
            .with_context(|| format!("failed to read the audit keys in {}", file.display()))?;
        let lines = text.lines().map(str::trim);
        texts.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    let parse = |text: &String| {
        text.parse()
            .with_context(|| format!("{} is not an audit key", shown(text)))
    };
    texts.iter().map(parse).collect()
}
