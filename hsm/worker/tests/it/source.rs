//! Calls that the sources must not contain.

use std::{collections::BTreeSet, fs, path::Path};

fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
}

/// Returns the functions of the C header that the package `pkcs11-two-calls` names in its code.
fn called_beside_cryptoki(worker: &Path) -> Vec<String> {
    let mut found = Vec::new();
    sources(&worker.parent().unwrap().join("two-calls/src"), &mut found);
    let code = found.iter().flat_map(|(_, text)| text.lines());
    let code = code.filter(|line| !line.trim_start().starts_with("//"));
    let words =
        code.flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'));
    let named = words
        .filter(|word| word.starts_with("C_"))
        .map(str::to_owned);
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn no_call_destroys_or_changes_a_token_or_logs_out() {
    let worker = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&worker.join("src"), &mut found);
    assert_eq!(
        called_beside_cryptoki(worker),
        [
            "C_GetFunctionList",
            "C_GetInterface",
            "C_GetTokenInfo",
            "C_Sign",
            "C_SignInit"
        ]
    );
    sources(&worker.parent().unwrap().join("src"), &mut found);
    assert!(found.len() > 10, "too few sources were found");
    let forbidden = [
        ".destroy_object(",
        ".create_object(",
        ".copy_object(",
        ".update_attributes(",
        ".generate_key(",
        ".generate_key_pair(",
        ".unwrap_key(",
        ".derive_key(",
        ".init_token(",
        ".init_pin(",
        ".set_pin(",
        ".logout(",
        ".finalize(",
        "cryptoki_sys",
    ];
    for (path, text) in found {
        // What C_GetMechanismInfo says about a mechanism; the call that makes a key takes arguments.
        let text = text.replace("info.generate_key_pair()", "");
        for call in forbidden {
            assert!(!text.contains(call), "{path} contains {call}");
        }
    }
}
