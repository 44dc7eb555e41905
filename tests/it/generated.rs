//! What is generated from the code is in the checkout, and is what the code says: `make generated` writes it again.

use std::{collections::BTreeSet, env, fs, path::Path, slice};

use pkcs11_issuer::{api, cli};

#[test]
fn the_generated_crds_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let update = env::var_os("UPDATE_GENERATED").is_some();
    if update {
        fs::create_dir_all(&folder).unwrap();
    }
    let mut expected = BTreeSet::new();
    for definition in api::crds() {
        let name = format!(
            "{}_{}.yaml",
            definition.spec.group, definition.spec.names.plural
        );
        let text = cli::crds(slice::from_ref(&definition)).unwrap();
        let file = folder.join(&name);
        if update {
            fs::write(&file, &text).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
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
