//! What the flags mean for the parts of the controller.

use crate::{
    args::{Answering, Run},
    reconcile::{AnsweredKinds, CertificateRequests, Settings},
};

/// Returns the kinds of requests to answer.
pub(super) fn answered(args: &Run) -> AnsweredKinds {
    AnsweredKinds {
        certificate_requests: match args.certificate_requests {
            Answering::Auto => CertificateRequests::OnceServed,
            Answering::True => CertificateRequests::Always,
            Answering::False => CertificateRequests::Never,
        },
        signing_requests: args.certificate_signing_requests,
        pod_certificates: args.pod_certificate_requests,
        concurrency: u16::try_from(args.concurrency.get()).unwrap_or(u16::MAX),
    }
}

/// Returns the settings of every look. `namespace` is the controller's own.
pub(super) fn settings(args: &Run, namespace: String) -> Settings {
    Settings {
        cluster_resource_namespace: namespace,
        probe_interval: args.probe_interval,
        enforce_approval: args.enforce_approval,
        undecided_after: args.undecided_after,
        trust_config_maps: args.trust_config_maps,
        reissue: args.reissue,
    }
}
