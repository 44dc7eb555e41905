//! Finds the programs under test.

use std::path::PathBuf;

use anyhow::{Context, Result};
use softhsm_test_helpers::program::program;

/// Environment variable with the path of the controller; the worker must be in the same folder.
const VARIABLE: &str = "PKCS11_ISSUER_BIN";
const WORKER: &str = "pkcs11-hsm-worker";

/// The executables of the controller and its worker.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The controller, `pkcs11-issuer`.
    pub controller: PathBuf,
    /// The worker, `pkcs11-hsm-worker`.
    pub worker: PathBuf,
}

impl Programs {
    /// Finds the controller that the variable `PKCS11_ISSUER_BIN` names, and the worker beside it. Without the variable,
    /// finds those that cargo built in the profile of the running program, and builds missing ones.
    ///
    /// # Errors
    ///
    /// When a program does not exist and cannot be built.
    pub fn find() -> Result<Self> {
        if let Some(named) = std::env::var_os(VARIABLE) {
            return Self::beside(named.into());
        }
        Ok(Self {
            controller: program("pkcs11-issuer", "pkcs11-issuer")?,
            worker: program(WORKER, WORKER)?,
        })
    }

    /// Takes this controller, such as the one of `CARGO_BIN_EXE_pkcs11-issuer`, and the worker beside it. Builds the worker
    /// if it is missing.
    ///
    /// # Errors
    ///
    /// When the controller's path is not a file, or the worker does not exist and cannot be built.
    pub fn beside(controller: PathBuf) -> Result<Self> {
        let controller = controller
            .canonicalize()
            .with_context(|| format!("find the controller {}", controller.display()))?;
        let sibling = controller.with_file_name(WORKER);
        let worker = if sibling.is_file() {
            sibling
        } else {
            program(WORKER, WORKER)?
        };
        Ok(Self { controller, worker })
    }
}
