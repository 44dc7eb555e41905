//! The workflows of `.github/` run the same make targets as developers, with no more rights than they need. `make lint`
//! checks the rest of them with actionlint.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use pkcs11_issuer::args::Args;
use rig::chart_path;
use serde_json::{Value, json};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn workflow(name: &str) -> Result<Value> {
    let text = fs::read_to_string(format!("{ROOT}/.github/workflows/{name}.yaml"))?;
    Ok(serde_saphyr::from_str(&text)?)
}

/// Returns the jobs of a workflow by name.
fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"].as_object().into_iter().flatten()
}

fn steps(job: &Value) -> impl Iterator<Item = &Value> {
    job["steps"].as_array().into_iter().flatten()
}

fn needs(job: &Value) -> Vec<&str> {
    let needed = &job["needs"];
    match needed.as_array() {
        Some(names) => names.iter().filter_map(Value::as_str).collect(),
        None => needed.as_str().into_iter().collect(),
    }
}

#[test]
fn the_check_of_every_change_is_make_ci() -> Result<()> {
    let ci = workflow("ci")?;
    let runs: Vec<_> = steps(&ci["jobs"]["ci"])
        .filter(|step| step["run"].is_string())
        .collect();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["run"], "make ci");
    assert_eq!(runs[0]["env"], json!({"CI": "true"}));
    let on = ci["on"].as_object().context("no events")?;
    for event in ["pull_request", "push", "workflow_call"] {
        assert!(on.contains_key(event), "{event}");
    }
    Ok(())
}

#[test]
fn nothing_is_pushed_or_signed_before_the_check_has_passed() -> Result<()> {
    let release = workflow("release")?;
    let test = &release["jobs"]["test"];
    assert_eq!(test["uses"], "./.github/workflows/ci.yaml");
    let mut tested = vec!["test"];
    let mut writes = 0;
    for _ in jobs(&release) {
        for (name, job) in jobs(&release) {
            if needs(job).iter().any(|needed| tested.contains(needed)) {
                tested.push(name);
            }
        }
    }
    for (name, job) in jobs(&release) {
        let permissions = job["permissions"].to_string();
        if permissions.contains("write") {
            assert!(tested.contains(&name.as_str()), "{name}");
            writes += 1;
        }
    }
    assert_eq!(writes, 3);
    Ok(())
}

#[test]
fn every_image_that_is_pushed_is_published_signed_and_attested() -> Result<()> {
    let release = workflow("release")?;
    let jobs = &release["jobs"];
    let script = |job: &Value| {
        let runs = steps(job).filter_map(|step| step["run"].as_str());
        runs.collect::<Vec<_>>().join("\n")
    };
    let (build, publish) = (script(&jobs["build"]), script(&jobs["publish"]));
    let pushed = build.lines().filter_map(|line| {
        let image = line.trim().strip_prefix("docker push \"$REGISTRY/")?;
        image.split(':').next()
    });
    let pushed: Vec<_> = pushed.collect();
    assert_eq!(pushed.len(), 3);
    let joined = publish.lines().find_map(|line| {
        let names = line.trim().strip_prefix("for name in ")?;
        names.strip_suffix("; do")
    });
    let joined: Vec<_> = joined.context("no images")?.split(' ').collect();
    assert_eq!(joined, pushed);
    for image in pushed {
        let signs = |line: &str| {
            line.starts_with("cosign sign ") && line.contains(&format!("\"$REGISTRY/{image}@"))
        };
        assert!(publish.lines().any(signs), "{image} is not signed");
        let subject = format!("${{{{ env.REGISTRY }}}}/{image}");
        let digest = format!("${{{{ steps.images.outputs.{image} }}}}");
        let attests = |step: &Value| {
            step["with"]["subject-name"] == subject && step["with"]["subject-digest"] == digest
        };
        assert!(steps(&jobs["publish"]).any(attests), "{image}");
    }
    Ok(())
}

#[test]
fn every_action_is_pinned_by_its_commit_and_no_secret_is_named() -> Result<()> {
    let mut count = 0;
    for name in ["ci", "release"] {
        let workflow = workflow(name)?;
        assert!(!workflow.to_string().contains("secrets."), "{name}");
        for (_, job) in jobs(&workflow) {
            for uses in steps(job).filter_map(|step| step["uses"].as_str()) {
                let (action, commit) = uses.split_once('@').context(uses.to_owned())?;
                let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
                assert!(is_commit, "{uses}");
                if action == "actions/checkout" {
                    let step = steps(job).find(|step| step["uses"] == uses);
                    let with = &step.context("no step")?["with"];
                    assert_eq!(with["persist-credentials"], false, "{name}");
                }
                count += 1;
            }
        }
    }
    assert!(count > 8, "{count}");
    Ok(())
}

#[test]
fn every_job_says_its_rights_and_none_may_write_to_the_repository() -> Result<()> {
    for (name, all) in [("ci", json!({"contents": "read"})), ("release", json!({}))] {
        let workflow = workflow(name)?;
        assert_eq!(workflow["permissions"], all);
        for (job, body) in jobs(&workflow) {
            let own = &body["permissions"];
            assert!(name == "ci" || own.is_object(), "{name}: {job}");
            assert_ne!(own["contents"], "write", "{name}: {job}");
        }
    }
    Ok(())
}

#[test]
fn a_tag_releases_the_version_of_programs_and_chart_and_no_other() -> Result<()> {
    let version = |tag: &str| {
        let output = Command::new(format!("{ROOT}/.github/release-version"))
            .arg(tag)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        anyhow::Ok(output.status.success().then_some(said))
    };
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(version(&format!("v{own}"))?.as_deref(), Some(own));
    for other in [own, "v99.0.0", "v1", &format!("v{own}-rc.1"), "v"] {
        assert_eq!(version(other)?, None, "{other}");
    }
    Ok(())
}

#[test]
fn a_release_has_the_platforms_that_the_chart_names() -> Result<()> {
    let text = fs::read_to_string(chart_path().join("Chart.yaml"))?;
    let chart: Value = serde_saphyr::from_str(&text)?;
    let images = chart["annotations"]["artifacthub.io/images"].as_str();
    let images: Value = serde_saphyr::from_str(images.context("no images")?)?;
    let release = workflow("release")?;
    let built = release["jobs"]["build"]["strategy"]["matrix"]["include"].as_array();
    let built: Vec<_> = built
        .into_iter()
        .flatten()
        .filter_map(|one| one["arch"].as_str().map(|arch| format!("linux/{arch}")))
        .collect();
    assert_eq!(images[0]["platforms"], json!(built));
    Ok(())
}

#[test]
fn a_released_image_has_a_manual_page_of_every_command_and_the_completions() -> Result<()> {
    let release = workflow("release")?;
    let runs = |job: &str| {
        let steps = steps(&release["jobs"][job]);
        let runs: Vec<_> = steps.filter_map(|step| step["run"].as_str()).collect();
        runs.join("\n")
    };
    // What is released is what docker/build makes of docker/Dockerfile.
    for (job, part) in [
        ("build", "docker/build\n"),
        (
            "build",
            "docker push \"$REGISTRY/pkcs11-issuer:$VERSION-$ARCH\"",
        ),
        ("publish", "imagetools create --tag \"$image:$VERSION\""),
    ] {
        assert!(runs(job).contains(part), "{job}: {part}");
    }
    let dockerfile = fs::read_to_string(format!("{ROOT}/docker/Dockerfile"))?;
    let (build, image) = dockerfile.split_once("FROM ${BASE}").context("no image")?;
    let share = "docker/share /programs/pkcs11-issuer /share";
    assert!(build.contains(share), "{build}");
    let copy = "COPY --from=build /share/ /usr/local/share/\n";
    assert!(image.contains(copy), "{image}");
    let folder = tempfile::tempdir()?;
    let made = Command::new(format!("{ROOT}/docker/share"))
        .arg(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .arg(folder.path())
        .status()?;
    assert!(made.success());
    for words in pages(&Args::command(), "pkcs11-issuer") {
        let page = folder.path().join(format!("man/man1/{words}.1"));
        let text = fs::read_to_string(&page).with_context(|| words.clone())?;
        assert!(text.contains(".SH SYNOPSIS"), "{words}");
    }
    let page = fs::read_to_string(format!("{ROOT}/docs/reference/cli.md"))?;
    for file in [
        "bash-completion/completions/pkcs11-issuer",
        "zsh/site-functions/_pkcs11-issuer",
        "fish/vendor_completions.d/pkcs11-issuer.fish",
    ] {
        assert!(
            fs::metadata(folder.path().join(file))?.len() > 1000,
            "{file}"
        );
        assert!(page.contains(file), "{file} is not on the page");
    }
    Ok(())
}

/// Returns the name of the manual page of each command, groups included.
fn pages(command: &clap::Command, name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned()];
    for below in command.get_subcommands() {
        all.extend(pages(below, &format!("{name}-{}", below.get_name())));
    }
    all
}
