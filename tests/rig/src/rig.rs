//! A cluster, a token and a controller together.

use anyhow::Result;
use control_plane::CertManagerOptions;
use serde_json::Value;
use softhsm_test_helpers::KeyKind;

use crate::chart::{apply_rights, no_values};
use crate::{Authority, Cluster, Controller, ControllerOptions, Programs};

/// Options of a rig.
#[derive(Clone, Debug)]
pub struct Options {
    /// The programs to run; by default [`Programs::find`].
    pub programs: Option<Programs>,
    /// Kind of the root key and the issuing key, by default P-256.
    pub key_kind: KeyKind,
    /// cert-manager's options. By default its approver does not run, so that a test approves its requests itself.
    pub cert_manager: CertManagerOptions,
    /// Namespaces whose issuers may use the token, besides cluster issuers.
    pub namespaces: Vec<String>,
    /// Further flags of the controller.
    pub controller_args: Vec<String>,
    /// Further environment variables of the controller.
    pub controller_env: Vec<(String, String)>,
    /// Values of the chart that give the rights which the controller's flags need.
    pub values: Value,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            programs: None,
            key_kind: KeyKind::P256,
            cert_manager: CertManagerOptions {
                approver: false,
                ..CertManagerOptions::default()
            },
            namespaces: Vec::new(),
            controller_args: Vec::new(),
            controller_env: Vec::new(),
            values: no_values(),
        }
    }
}

/// A cluster, a token and a running controller. Dropping it ends all of them.
#[derive(Debug)]
pub struct Rig {
    // Dropped in this order.
    controller: Controller,
    cluster: Cluster,
    authority: Authority,
}

impl Rig {
    /// Starts everything and waits until the controller is ready. It creates no issuer.
    ///
    /// # Errors
    ///
    /// When a part does not start.
    pub async fn start(options: Options) -> Result<Self> {
        let Options {
            programs,
            key_kind,
            cert_manager,
            namespaces,
            controller_args,
            controller_env,
            values,
        } = options;
        let programs = programs.map_or_else(Programs::find, Ok)?;
        let authority = Authority::new(key_kind)?;
        let cluster = Cluster::start(&programs, cert_manager).await?;
        for namespace in &namespaces {
            cluster.create_namespace_with_issuers(namespace).await?;
        }
        if values != no_values() {
            apply_rights(cluster.plane(), &values).await?;
        }
        let granted: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        let configuration = authority.configuration(&granted).to_string();
        let controller = ControllerOptions {
            args: controller_args,
            env: controller_env,
            ..ControllerOptions::new(configuration, &programs)
        };
        Ok(Self {
            controller: Controller::start(&cluster, &controller).await?,
            cluster,
            authority,
        })
    }

    /// Returns the control plane with cert-manager and our CRDs.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Returns the token and its certificates.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the running controller.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }
}
