//! `pkcs11-issuer dev`: a SoftHSM token with a CA, for trying things out. Other programs write to the token: `softhsm2-util` makes
//! it, and `pkcs11-ceremony` its keys.

mod ceremony;
mod softhsm;
mod texts;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{self, Path},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use zeroize::Zeroizing;

use self::ceremony::Ceremony;
use super::machine;
use crate::{
    args::Dev,
    config::Library,
    pipeline::now,
    telemetry::{self, LogFormat, Unread},
};

/// Name of the token in the configuration, and its label.
const TOKEN: &str = "issuing";
/// `CKA_LABEL` of the issuing key. The examples of the documentation use the same names.
const ISSUING_KEY: &str = "issuing-ca";
/// `CKA_LABEL` of the key that signs the ceremony's transcript, and then the checkpoints of the issuance log.
const AUDIT_KEY: &str = "audit";

/// The files that are printed, in order. The last is written last: the folder is finished if it has that one.
const PRINTED: [&str; 4] = [
    "config.yaml",
    "cluster.yaml",
    "issuer.yaml",
    "certificate.yaml",
];

/// Makes the folder with token, keys, certificates, configuration and manifests, or finds it made, and prints what is in it.
///
/// # Errors
/// The folder is of somebody else or unfinished, or a program is missing or fails.
pub async fn dev(args: &Dev) -> anyhow::Result<()> {
    telemetry::start(LogFormat::Text, "error", Unread::Wait, None)?;
    let folder = path::absolute(&args.folder).context("DIR is not a path")?;
    let name = args.folder.display();
    let plain = |text: &str| !text.contains(|c: char| c.is_control() || c == '#');
    ensure!(
        folder.to_str().is_some_and(plain),
        "SoftHSM cannot use a folder with such a name: {name:?}; choose another one"
    );
    if fs::symlink_metadata(&folder).is_err() {
        make(args, &folder).await?;
        eprintln!("everything is in {name}");
    } else if folder.join("certificate.yaml").is_file() && folder.join("softhsm2.conf").is_file() {
        eprintln!("{name} was made before, and nothing in it was changed");
    } else if folder.join("softhsm2.conf").is_file() {
        bail!("{name} is unfinished; remove it, and run the same command again");
    } else {
        bail!(
            "{name} exists already, and nothing in it was changed; name a folder that does not exist"
        );
    }
    let mut text = String::new();
    for file in PRINTED {
        let path = args.folder.join(file);
        let contents = fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        writeln!(text, "# {}\n{contents}", path.display())?;
    }
    text += &texts::next(&args.folder);
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("failed to write to stdout")
}

async fn make(args: &Dev, folder: &Path) -> anyhow::Result<()> {
    // Programs that are missing are found before anything is made.
    let module = softhsm::library(args.module.as_deref())?;
    let module = path::absolute(module).context("--module is not a path")?;
    let worker = machine::worker(args.worker.as_deref())?;
    let program = machine::ceremony(args.ceremony.as_deref())?;
    DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("failed to make the folder {}", folder.display()))?;
    let made = fill(folder, &module, &worker, Ceremony::new(program, folder)).await;
    made.with_context(|| {
        format!(
            "{} is unfinished; remove it before you run the same command again",
            args.folder.display()
        )
    })
}

async fn fill(
    folder: &Path,
    module: &Path,
    worker: &Path,
    ceremony: Ceremony,
) -> anyhow::Result<()> {
    let (tokens, conf) = (folder.join("tokens"), folder.join("softhsm2.conf"));
    fs::write(&conf, softhsm::configuration(&tokens))?;
    DirBuilder::new().mode(0o700).create(&tokens)?;
    let pin = Zeroizing::new(hex::encode(random()?));
    let officer = Zeroizing::new(hex::encode(random()?));
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("pin"))
        .and_then(|mut file| file.write_all(pin.as_bytes()))
        .context("failed to write the PIN")?;
    eprintln!("softhsm2-util makes the token");
    softhsm::make_token(&conf, TOKEN, &officer, &pin)?;
    let library = Library::Path {
        path: module.to_owned(),
        env: BTreeMap::from([(
            softhsm::CONFIGURATION.to_owned(),
            conf.to_string_lossy().into_owned(),
        )]),
    };
    let serial = softhsm::serial(&library, worker, TOKEN).await?;
    eprintln!("pkcs11-ceremony makes the keys and certificates");
    ceremony.hold(module, &serial, now())?;
    let pem = |name: &str| fs::read_to_string(folder.join("ceremony").join(name));
    let contents = [
        texts::configuration(folder, module)?,
        texts::CLUSTER.to_owned(),
        texts::issuer(&pem("issuing.pem")?, &pem("root.pem")?)?,
        texts::CERTIFICATE.to_owned(),
    ];
    for (name, text) in PRINTED.into_iter().zip(contents) {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn random() -> anyhow::Result<[u8; 16]> {
    let mut octets = [0; 16];
    aws_lc_rs::rand::fill(&mut octets)
        .map_err(|_| anyhow!("the operating system gave no random octets; try again"))?;
    Ok(octets)
}
