//! Where the programs under test are.

use std::path::PathBuf;

use anyhow::{Context, Result};
use softhsm_test_helpers::program::program;

/// Names the controller's file; the worker's then lies beside it.
const VARIABLE: &str = "PKCS11_ISSUER_BIN";
const WORKER: &str = "pkcs11-hsm-worker";

/// The controller and its worker, two executable files.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The controller, `pkcs11-issuer`.
    pub controller: PathBuf,
    /// The worker, `pkcs11-hsm-worker`.
    pub worker: PathBuf,
}

impl Programs {
    /// The file that the variable `PKCS11_ISSUER_BIN` names and the worker beside it; else the ones that cargo has
    /// built in the profile of the running program, and where one is missing it is built now.
    ///
    /// # Errors
    ///
    /// When one is neither there nor can be built.
    pub fn find() -> Result<Self> {
        if let Some(named) = std::env::var_os(VARIABLE) {
            return Self::beside(named.into());
        }
        Ok(Self {
            controller: program("pkcs11-issuer", "pkcs11-issuer")?,
            worker: program(WORKER, WORKER)?,
        })
    }

    /// A controller, such as the one of `CARGO_BIN_EXE_pkcs11-issuer`, and the worker beside it, which is built when
    /// it is missing there.
    ///
    /// # Errors
    ///
    /// When the controller's path is that of no file, or the worker is neither there nor can be built.
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
