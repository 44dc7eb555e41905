//! The page of the screens: each picture is followed by a block with its commands and their text.

use anyhow::{Context as _, Result, ensure};

const PAGE: &str = include_str!("../../../docs/screens.md");

/// A picture of the page.
pub(super) struct Screen {
    /// Name of its file in `docs/screens/`, without `.svg`.
    pub(super) name: String,
    /// What was typed, in order.
    pub(super) commands: Vec<String>,
}

/// Returns the pictures of the page, in order.
pub(super) fn screens() -> Result<Vec<Screen>> {
    let mut screens: Vec<Screen> = Vec::new();
    let mut in_block = false;
    for line in PAGE.lines() {
        let picture = line.strip_prefix("![").and_then(|rest| {
            let (_, file) = rest.split_once("](screens/")?;
            file.strip_suffix(".svg)")
        });
        if let Some(name) = picture {
            screens.push(Screen {
                name: name.to_owned(),
                commands: Vec::new(),
            });
        } else if line.starts_with("```") {
            in_block = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_block) {
            let screen = screens.last_mut().context("a command before any picture")?;
            screen.commands.push(command.to_owned());
        }
    }
    ensure!(screens.len() > 9, "{} pictures", screens.len());
    for Screen { name, commands } in &screens {
        ensure!(!commands.is_empty(), "{name} shows no command");
    }
    Ok(screens)
}
