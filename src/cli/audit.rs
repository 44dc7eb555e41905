//! `pkcs11-issuer audit`: reads issuance logs, verifies them, and proves what they say.

mod certificate;
mod compare;
mod export;
mod files;
mod key;
mod keys;
mod prove;
mod show;
mod verify;

use std::process::ExitCode;

use crate::args::Audit;

/// Exit code if something is missing, was changed or disagrees.
const FAULTY: u8 = 3;

/// Runs one of the commands.
///
/// # Errors
/// A file could not be read, stdout could not be written, or the command could not do what it was asked for.
pub async fn audit(command: &Audit) -> anyhow::Result<ExitCode> {
    match command {
        Audit::Verify(args) => verify::verify(args),
        Audit::Show(args) => show::show(args),
        Audit::Certificate(args) => certificate::certificate(args),
        Audit::Prove(args) => prove::prove(args),
        Audit::CheckProof(args) => prove::check_proof(args),
        Audit::Key(args) => key::key(args),
        Audit::Export(args) => export::export(args),
        Audit::Compare(args) => compare::compare(args).await,
    }
}

/// Returns success, or the code of a finding.
fn code(sound: bool) -> ExitCode {
    match sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAULTY),
    }
}
