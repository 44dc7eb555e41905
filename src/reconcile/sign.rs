//! Signs a request that is due, and says what became of it in the words of its status.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use tracing::{error, info};

use super::{
    Context,
    apply::full_name,
    conclude::{Delay, Known},
    decide::Share,
    kind::Request,
    observe::share,
};
use crate::{
    audit::{self, Issuer, Subject},
    issuance::{Fault, PrepareError, Refusal},
    metrics::Metrics,
    pipeline::{self, IssuerName, NotSigned, ReadyIssuer, Signed, now},
    telemetry::Chain,
};

/// A request that is due, with the issuer that it names.
pub(super) struct Due<'a, R> {
    pub(super) request: &'a R,
    pub(super) uid: &'a str,
    pub(super) name: &'a IssuerName,
    pub(super) issuer: &'a Arc<ReadyIssuer>,
    pub(super) selector: Option<&'a LabelSelector>,
    pub(super) max_pending: Option<Duration>,
}

/// What came of signing.
pub(super) enum Outcome {
    Signed(Signed),
    Refused(Refusal),
    Delayed(Delay),
}

/// Signs, logs and counts.
pub(super) async fn sign<R: Request>(due: &Due<'_, R>, context: &Context) -> Outcome {
    let asked = match due.request.asked(due.issuer.pods.as_ref()) {
        Ok(asked) => asked,
        Err(refusal) => return Outcome::Refused(refusal),
    };
    let subject = due.subject();
    let still_due = || share(due.request, due.uid, context) == Share::Own;
    let tenant = due.request.tenant().into();
    let record = &context.record;
    match pipeline::sign(&asked, &tenant, &subject, due.issuer, record, &still_due).await {
        Ok(signed) => {
            info!(kind = R::KIND.as_str(), name = %full_name(due.request), issuer = %due.name,
                  serial = signed.announced.serial, "signed");
            let dropped = &signed.announced.dropped_extensions;
            if !dropped.is_empty() {
                info!(kind = R::KIND.as_str(), name = %full_name(due.request), issuer = %due.name,
                      serial = signed.announced.serial, extensions = dropped.join(","),
                      "extensions of the CSR were dropped");
            }
            Outcome::Signed(signed)
        }
        Err(NotSigned::Refused(refusal)) => Outcome::Refused(refusal),
        Err(other) => {
            let delay = delay(&other, &context.metrics);
            if delay == Delay::Bug {
                error!(kind = R::KIND.as_str(), name = %full_name(due.request), issuer = %due.name,
                       error = %Chain(&other), "an invariant broke; nothing was published");
            }
            Outcome::Delayed(delay)
        }
    }
}

/// Who has to act, and the count of what nobody but us can mend.
fn delay(why: &NotSigned, metrics: &Metrics) -> Delay {
    if let NotSigned::Record(error) = why {
        // Where the record goes is the operator's business, and not for the author of a request to read.
        error!(error = %Chain(error), "no signature without a record");
        return Delay::Passing(why.to_string());
    }
    let text = Chain(why).to_string();
    match why.fault() {
        Fault::Issuer => Delay::Issuer(text),
        Fault::Passing => Delay::Passing(text),
        // A refusal has been handled before; one that arrives here is a bug too.
        Fault::Request | Fault::Bug => {
            if let NotSigned::Prepare(PrepareError::Lint(failed)) = why {
                metrics.lint_failed(failed.lint);
            }
            metrics.bug("issuance");
            Delay::Bug
        }
    }
}

impl<R: Request> Due<'_, R> {
    /// What conclusions about it depend on.
    pub(super) fn known(&self) -> Known<'_, R> {
        Known {
            request: self.request,
            issuer: self.name,
            now: now(),
        }
    }

    /// What the issuance record says of the request.
    pub(super) fn subject(&self) -> Subject<'_> {
        subject(self.request, self.name)
    }
}

/// What the issuance record says of a request and the issuer that it names.
pub(super) fn subject<'a, R: Request>(request: &'a R, issuer: &'a IssuerName) -> Subject<'a> {
    let meta = request.meta();
    Subject {
        request: audit::Request {
            kind: R::KIND,
            namespace: meta.namespace.as_deref(),
            name: meta.name.as_deref().unwrap_or_default(),
            uid: meta.uid.as_deref().unwrap_or_default(),
        },
        requester: request.requester(),
        issuer: Issuer {
            kind: issuer.kind(),
            namespace: issuer.namespace.as_deref(),
            name: &issuer.name,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::lint::LintError;

    #[test]
    fn a_failed_lint_is_a_bug_of_ours_and_is_counted_under_its_name() {
        let metrics = Metrics::new("0.1.0", "unknown");
        let failed = NotSigned::Prepare(PrepareError::Lint(LintError {
            lint: "rfc5280_version_3",
            citation: "RFC 5280, section 4.1.2.1",
            finding: "version 1".to_owned(),
        }));
        assert_eq!(delay(&failed, &metrics), Delay::Bug);
        let text = metrics.encode().unwrap();
        for line in [
            r#"pkcs11_issuer_lint_failures_total{lint="rfc5280_version_3"} 1"#,
            r#"pkcs11_issuer_bugs_total{bug="issuance"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }

    #[test]
    fn no_random_octets_pass_by_themselves_and_count_as_no_bug() {
        let metrics = Metrics::new("0.1.0", "unknown");
        let delay = delay(&NotSigned::Random, &metrics);
        assert_eq!(
            delay,
            Delay::Passing("no random octets for a serial number".to_owned())
        );
        assert!(!metrics.encode().unwrap().contains("_bugs_total{"));
    }
}
