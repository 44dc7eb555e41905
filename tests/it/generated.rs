//! What is generated from the code is in the checkout, and is what the code says: `make generated` writes it again.

mod chart;

use std::{collections::BTreeSet, env, fs, io, path::Path, slice};

use pkcs11_issuer::{api, cli};

/// The file of each kind: its name, and its text as the code has it.
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
fn the_generated_crds_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    if env::var_os("UPDATE_GENERATED").is_some() {
        write_crds(&folder).unwrap();
    }
    let mut expected = BTreeSet::new();
    for (name, text) in crds() {
        let found = fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            found == text,
            "crds/{name} is not what the code says: run `make generated` and look at the difference"
        );
        expected.insert(name);
    }
    let found: BTreeSet<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected, "crds/ has a file that no kind has");
}
