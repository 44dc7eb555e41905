//! The files of a log in the layout of c2sp.org/tlog-tiles: tiles of hashes, and bundles of entries. Pure.

use std::io;

use super::{
    leaves::ConfirmedLeaf,
    tree::{Frontier, TreeHash},
};

/// Hashes of a full tile, and entries of a full bundle.
const WIDTH: usize = 256;

/// Makes the tiles and bundles of one run as its leaves arrive. Keeps one incomplete tile of each level.
#[derive(Debug, Default)]
pub struct Tiles {
    bundle: Vec<u8>,
    /// The incomplete tiles, that of the leaves first.
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    /// Number of full tiles.
    full: u64,
    hashes: Vec<TreeHash>,
}

/// Kind of a file.
#[derive(Clone, Copy)]
enum Kind {
    Entries,
    Level(usize),
}

impl Tiles {
    /// Adds the next leaf. Calls `write` with the path and the content of each file that it completes.
    ///
    /// # Errors
    /// The leaf is too long for a bundle, or `write` failed.
    pub fn push(
        &mut self,
        leaf: ConfirmedLeaf<'_>,
        write: &mut impl FnMut(&str, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let length = u16::try_from(leaf.octets.len()).map_err(|_| {
            io::Error::other(format!(
                "line {} of run {} has {} octets, and a bundle's entries have at most 65535",
                leaf.index,
                leaf.run,
                leaf.octets.len()
            ))
        })?;
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(leaf.octets);
        let mut hash = leaf.hash;
        for height in 0.. {
            if self.levels.len() == height {
                self.levels.push(Level::default());
            }
            let Some(level) = self.levels.get_mut(height) else {
                break;
            };
            level.hashes.push(hash);
            if level.hashes.len() < WIDTH {
                break;
            }
            if height == 0 {
                write(&path(Kind::Entries, level.full, WIDTH), &self.bundle)?;
                self.bundle.clear();
            }
            write(
                &path(Kind::Level(height), level.full, WIDTH),
                &level.octets(),
            )?;
            hash = Frontier::of(&level.hashes).root();
            level.full += 1;
            level.hashes.clear();
        }
        Ok(())
    }

    /// Calls `write` with the incomplete tiles and the incomplete bundle.
    ///
    /// # Errors
    /// The error of `write`.
    pub fn finish(self, write: &mut impl FnMut(&str, &[u8]) -> io::Result<()>) -> io::Result<()> {
        for (height, level) in self.levels.iter().enumerate() {
            let width = level.hashes.len();
            if width == 0 {
                continue;
            }
            if height == 0 {
                write(&path(Kind::Entries, level.full, width), &self.bundle)?;
            }
            write(
                &path(Kind::Level(height), level.full, width),
                &level.octets(),
            )?;
        }
        Ok(())
    }
}

impl Level {
    fn octets(&self) -> Vec<u8> {
        self.hashes
            .iter()
            .flat_map(TreeHash::octets)
            .copied()
            .collect()
    }
}

/// Returns `tile/<L>/<N>[.p/<W>]`, or `entries` for `<L>`. All but the last three digits of `<N>` are folders.
fn path(kind: Kind, index: u64, width: usize) -> String {
    let mut number = format!("{:03}", index % 1000);
    let mut above = index / 1000;
    while above > 0 {
        number = format!("x{:03}/{number}", above % 1000);
        above /= 1000;
    }
    let kind = match kind {
        Kind::Entries => "entries".to_owned(),
        Kind::Level(level) => level.to_string(),
    };
    match width {
        WIDTH => format!("tile/{kind}/{number}"),
        width => format!("tile/{kind}/{number}.p/{width}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(
            path(Kind::Level(0), 1_234_067, WIDTH),
            "tile/0/x001/x234/067"
        );
        assert_eq!(path(Kind::Level(1), 0, 17), "tile/1/000.p/17");
        assert_eq!(path(Kind::Entries, 273, 112), "tile/entries/273.p/112");
        assert_eq!(path(Kind::Entries, 1000, WIDTH), "tile/entries/x001/000");
    }

    fn export(size: u64) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut write = |path: &str, octets: &[u8]| {
            assert_eq!(
                files.insert(path.to_owned(), octets.to_vec()),
                None,
                "{path}"
            );
            Ok(())
        };
        let mut tiles = Tiles::default();
        for index in 0..size {
            let octets = index.to_be_bytes();
            let leaf = ConfirmedLeaf {
                run: "00ff",
                index,
                octets: &octets,
                hash: TreeHash::of_leaf(&octets),
            };
            tiles.push(leaf, &mut write).unwrap();
        }
        tiles.finish(&mut write).unwrap();
        files
    }

    #[test]
    fn the_tree_of_70_000_leaves_has_the_tiles_of_the_specification() {
        let files = export(70_000);
        let count = |start: &str| files.keys().filter(|path| path.starts_with(start)).count();
        assert_eq!(count("tile/0/"), 274);
        assert_eq!(count("tile/entries/"), 274);
        assert_eq!(files["tile/0/273.p/112"].len(), 112 * 32);
        assert_eq!(files["tile/entries/273.p/112"].len(), 112 * 10);
        assert_eq!(files["tile/1/000"].len(), 8192);
        assert_eq!(files["tile/1/001.p/17"].len(), 17 * 32);
        assert_eq!(files["tile/2/000.p/1"].len(), 32);
        assert_eq!(files.len(), 2 * 274 + 3);
    }

    #[test]
    fn a_tree_of_one_full_tile_has_one_partial_tile_above_it() {
        let files = export(256);
        let paths: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(paths, ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
    }

    #[test]
    fn a_line_that_is_too_long_for_a_bundle_is_an_error() {
        let octets = vec![b' '; 65_536];
        let leaf = |octets| ConfirmedLeaf {
            run: "00ff",
            index: 7,
            octets,
            hash: TreeHash::of_leaf(octets),
        };
        let mut write = |_: &str, _: &[u8]| Ok(());
        let error = Tiles::default()
            .push(leaf(&octets), &mut write)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("line 7 of run 00ff has 65536 octets"),
            "{error}"
        );
        Tiles::default()
            .push(leaf(&octets[1..]), &mut write)
            .unwrap();
    }
}
