//! A controller that cannot start says so on stderr in one line and ends with a failure.

use std::process::Command;

use anyhow::Result;

/// Runs the controller with a configuration and returns its exit code and stderr.
fn run(configuration: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, configuration)?;
    let output = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .arg("run")
        .arg("--config")
        .arg(&file)
        .args([
            "--health-address",
            "127.0.0.1:0",
            "--metrics-address",
            "127.0.0.1:0",
        ])
        .args(more)
        .env_clear()
        .output()?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

const GOOD: &str =
    "{modules: {m: {path: /lib/m.so}}, tokens: {t: {module: m, label: t, pinFile: /pin}}}";

#[test]
fn each_mistake_in_the_configuration_is_one_error_that_names_it() -> Result<()> {
    let cases = [
        ("{modules: {}, tokens: {}, more: 1}", "more"),
        (
            "{modules: {m: {path: lib.so}}, tokens: {t: {module: m, label: t, pinFile: /pin}}}",
            "lib.so",
        ),
        (
            "{modules: {m: {path: /lib/m.so}}, tokens: {t: {module: n, label: t, pinFile: /pin}}}",
            "n",
        ),
        (
            "{modules: {m: {path: /lib/m.so}}, tokens: {t: {module: m, pinFile: /pin}}}",
            "label",
        ),
    ];
    for (configuration, named) in cases {
        let (code, stderr) = run(configuration, &[])?;
        assert_eq!(code, Some(1), "{stderr}");
        let errors: Vec<_> = stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(errors.len(), 1, "{stderr}");
        assert!(
            errors[0].contains("config.yaml") && errors[0].contains(named),
            "{stderr}"
        );
    }
    Ok(())
}

#[test]
fn a_controller_without_a_cluster_says_what_to_give() -> Result<()> {
    let (code, stderr) = run(GOOD, &[])?;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("give --kubeconfig or set KUBECONFIG"),
        "{stderr}"
    );
    Ok(())
}

#[test]
fn a_controller_without_its_worker_program_says_what_to_give() -> Result<()> {
    let (code, stderr) = run(GOOD, &["--worker", "/nowhere/worker"])?;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("/nowhere/worker; give --worker"),
        "{stderr}"
    );
    Ok(())
}
