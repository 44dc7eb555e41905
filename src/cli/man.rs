//! `pkcs11-issuer man`: writes the manual pages.

use std::fs;

use anyhow::Context as _;

use crate::args::Man;

/// Writes the manual pages into the folder, and makes the folder if it does not exist.
///
/// # Errors
/// The folder cannot be made, or a page cannot be written.
pub fn man(args: &Man) -> anyhow::Result<()> {
    let folder = &args.folder;
    let failed = || {
        format!(
            "failed to write manual pages to {}; name a folder that you may write to",
            folder.display()
        )
    };
    fs::create_dir_all(folder).with_context(failed)?;
    Man::write(folder).with_context(failed)
}
