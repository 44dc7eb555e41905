//! Errors of test tokens.

use std::{io, path::PathBuf, process::ExitStatus};

use thiserror::Error as ThisError;

/// Why an operation on a token, key or certificate failed.
#[derive(Debug, ThisError)]
pub enum Error {
    /// SoftHSM's library is not installed.
    #[error(
        "SoftHSM 2 is not installed; on Debian: apt-get install softhsm2, else set SOFTHSM2_MODULE to its library"
    )]
    NotInstalled,
    /// Kryoptic's library is not built.
    #[error(
        "Kryoptic is not built: run tests/kryoptic/build, else set KRYOPTIC_MODULE to its library"
    )]
    NotBuilt,
    /// The client of the network HSM is not installed.
    #[cfg(feature = "containers")]
    #[error(
        "p11-kit-client.so is not installed: run tests/setup/docker, else set P11_KIT_CLIENT_MODULE to it"
    )]
    NoP11Kit,
    /// The token is not SoftHSM's, and only SoftHSM is in the image.
    #[cfg(feature = "containers")]
    #[error("only SoftHSM's tokens can be put into a container")]
    NotInImage,
    /// The Docker engine failed.
    #[cfg(feature = "containers")]
    #[error("failed to use a container: run tests/setup/docker")]
    Container(#[source] testcontainers::TestcontainersError),
    /// `TEST_TOKEN` names no provider.
    #[error("TEST_TOKEN must be softhsm or kryoptic")]
    Provider,
    /// `TEST_DEVICE` names no device.
    #[error("TEST_DEVICE must be the name of one of the shim's devices")]
    Device,
    /// A file or directory cannot be used.
    #[error("failed to access {path}")]
    File {
        /// Path of the file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A program of this workspace was neither found nor built.
    #[error("failed to find or build {program}; build it with `cargo build -p {package}`")]
    Program {
        /// Its name.
        program: String,
        /// Its package.
        package: String,
    },
    /// The rules have an error, or their directory cannot be used.
    #[error("failed to use the fault rules in {path}")]
    Faults {
        /// Path of the directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The helper process cannot be run.
    #[error("failed to run {path}")]
    Run {
        /// Path of the program.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The helper process ended without an answer, for example because the library crashed.
    #[error("the helper ended before it answered: {0}")]
    Ended(ExitStatus),
    /// The helper's answer cannot be read.
    #[error(
        "the helper's answer cannot be read; rebuild it with `cargo build -p softhsm-test-helpers`"
    )]
    Answer(#[source] serde_json::Error),
    /// The helper reported that the task failed.
    #[error("the helper failed: {0}")]
    Refused(String),
    /// The helper's report does not match its task.
    #[error("the helper's report does not match its task")]
    OtherAnswer,
    /// The system has no random octets.
    #[error("the system has no random octets")]
    Random,
    /// A certificate cannot be made.
    #[error("failed to make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// A public key or signature cannot be encoded.
    #[error("failed to encode a public key or signature")]
    Encode(#[source] der::Error),
}
