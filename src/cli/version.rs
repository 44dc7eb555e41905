//! `pkcs11-issuer version`: describes this build.

use std::fmt;

use crate::audit::Program;

/// Version of the package.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit of the build, from `PKCS11_ISSUER_COMMIT` at build time, or `unknown`.
pub(super) const COMMIT: &str = match option_env!("PKCS11_ISSUER_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    Some(_) | None => "unknown",
};

/// This program, as the issuance log names it.
pub(super) const PROGRAM: Program = Program {
    version: VERSION,
    commit: COMMIT,
};

/// Returns version, commit and kind of this build, one per line.
#[must_use]
pub fn version() -> impl fmt::Display {
    fmt::from_fn(|f| {
        writeln!(f, "pkcs11-issuer {VERSION}")?;
        writeln!(f, "commit: {COMMIT}")?;
        writeln!(
            f,
            "build: {} for {}-{}",
            profile(),
            std::env::consts::ARCH,
            std::env::consts::OS
        )
    })
}

const fn profile() -> &'static str {
    if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_shows_package_commit_and_build() {
        let text = version().to_string();
        let keys: Vec<_> = text
            .lines()
            .filter_map(|line| line.split([' ', ':']).next())
            .collect();
        assert_eq!(keys, ["pkcs11-issuer", "commit", "build"]);
        assert!(text.contains(VERSION));
    }
}
