//! Tests that the generated files in the checkout agree with the code. `make generated` writes them again.

mod chart;
mod metrics;

use std::{collections::BTreeSet, env, fs, io, path::Path, slice};

use pkcs11_issuer::{api, cli};

/// Returns the name and the text of the file of each kind.
fn crds() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for definition in api::crds() {
        let (group, plural) = (&definition.spec.group, &definition.spec.names.plural);
        let name = format!("{group}_{plural}.yaml");
        files.push((name, cli::crds(slice::from_ref(&definition)).unwrap()));
    }
    files
}

fn write_crds(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in crds() {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

#[test]
fn the_generated_crds_match_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    if env::var_os("UPDATE_GENERATED").is_some() {
        write_crds(&folder).unwrap();
    }
    let mut expected = BTreeSet::new();
    for (name, text) in crds() {
        let found = fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            found == text,
            "crds/{name} differs from the code: run `make generated` and review the difference"
        );
        expected.insert(name);
    }
    let found: BTreeSet<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        found, expected,
        "crds/ has a file for which there is no kind"
    );
}
