//! What can go wrong around a test token.

use std::{io, path::PathBuf, process::ExitStatus};

use thiserror::Error as ThisError;

/// A token, key or certificate could not be made.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The library is not installed.
    #[error(
        "SoftHSM 2 is not installed; on Debian: apt-get install softhsm2, else set SOFTHSM2_MODULE to its library"
    )]
    NotInstalled,
    /// The library is not built.
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
    /// Only SoftHSM is in the image.
    #[cfg(feature = "containers")]
    #[error("only SoftHSM's tokens can be put into a container")]
    NotInImage,
    /// The Docker engine.
    #[cfg(feature = "containers")]
    #[error("failed to use a container: run tests/setup/docker")]
    Container(#[source] testcontainers::TestcontainersError),
    /// No such token.
    #[error("TEST_TOKEN must be softhsm or kryoptic")]
    Provider,
    /// A file or directory.
    #[error("failed to access {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program of this workspace was neither found nor built.
    #[error("failed to find or build {program}; build it by `cargo build -p {package}`")]
    Program {
        /// Its name.
        program: String,
        /// Its package.
        package: String,
    },
    /// Rules of faults that are none, or a directory of rules that cannot be used.
    #[error("failed to use the rules of faults in {path}")]
    Faults {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The helper process.
    #[error("failed to run {path}")]
    Run {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The library ended the helper process.
    #[error("the helper ended before it answered: {0}")]
    Ended(ExitStatus),
    /// The helper answered something that is no answer.
    #[error(
        "the helper's answer cannot be read; rebuild it by `cargo build -p softhsm-test-helpers`"
    )]
    Answer(#[source] serde_json::Error),
    /// The helper refused.
    #[error("the helper failed: {0}")]
    Refused(String),
    /// The helper did something else than it was told.
    #[error("the helper did something else than it was told")]
    OtherAnswer,
    /// No random octets for a PIN.
    #[error("the system has no random octets")]
    Random,
    /// Certificate making.
    #[error("failed to make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// Key encoding.
    #[error("failed to encode a public key or signature")]
    Encode(#[source] der::Error),
}
