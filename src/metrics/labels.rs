//! Labels of the metrics, all from closed sets. The label of a token is its name in the operator's configuration.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::audit::RequestKind;

/// Defines the values of a label: an enumeration with a word for each value.
macro_rules! label_values {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $name { $($(#[$each])* $value,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            const fn label(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                self.label().encode(encoder)
            }
        }
    };
}

label_values! {
    /// Result of one status write of a request.
    RequestResult {
        /// The certificate is published.
        Issued = "issued",
        /// The request failed for good; only a new request can succeed.
        Failed = "failed",
        /// An approver denied the request.
        Denied = "denied",
        /// The request waits.
        Pending = "pending",
        /// A certificate was signed and is not published.
        Discarded = "discarded",
    }
}

label_values! {
    /// Reason why an approved request is not answered yet.
    WaitReason {
        /// It is due and no look at it has begun.
        Queue = "queue",
        /// A look is in progress: it waits for the token, the API server or both.
        InProgress = "in-progress",
        /// Its issuer does not exist.
        IssuerMissing = "issuer-missing",
        /// Its issuer is not ready.
        IssuerNotReady = "issuer-not-ready",
        /// Its issuer has not been looked at yet, or another installation answers it.
        IssuerUnknown = "issuer-unknown",
        /// Its issuer's limit lets others sign first.
        Limit = "limit",
        /// Signing failed, and somebody must correct the issuer.
        IssuerFailed = "issuer-failed",
        /// Signing failed, and is tried again.
        Retry = "retry",
        /// The API server did not accept a write, which is tried again.
        Write = "write",
        /// A bug of the controller.
        Bug = "bug",
    }
}

label_values! {
    /// Stage on the way from a due request to its stored status.
    TimedStage {
        /// From due until the look at it begins.
        Queue = "queue",
        /// Until it may use the token.
        Turn = "turn",
        /// The signature.
        Token = "token",
        /// The status write.
        Write = "write",
    }
}

label_values! {
    /// Outcome of one call to a token.
    SignOutcome {
        /// The token made a signature that verifies.
        Signed = "signed",
        /// The token or its worker reported an error.
        Failed = "failed",
        /// The token did not answer before the deadline.
        TimedOut = "timed_out",
        /// The queue was full, so the call never began.
        Overloaded = "overloaded",
        /// The token made a signature that does not verify.
        Unverified = "unverified",
    }
}

label_values! {
    /// Function of a token.
    TokenFunction {
        /// A signature.
        Sign = "sign",
        /// A search for a key.
        FindKey = "find-key",
        /// Random octets.
        Random = "random",
        /// A login on demand.
        Login = "login",
    }
}

label_values! {
    /// Outcome of one renewal of this replica's Lease.
    LeaseRenewal {
        /// The renewal is stored, and the Leases of the other replicas were read.
        Renewed = "renewed",
        /// One of these two steps failed.
        Failed = "failed",
    }
}

label_values! {
    /// Result of a revocation.
    RevocationResult {
        /// The certificate is revoked or on hold.
        Revoked = "revoked",
        /// A hold has ended.
        Released = "released",
        /// The revocation is refused for good.
        Refused = "refused",
    }
}

label_values! {
    /// Verb of a call of the API server.
    ApiVerb {
        /// Reads one object or a list.
        Get = "get",
        /// Begins a watch.
        Watch = "watch",
        /// Creates an object.
        Post = "post",
        /// Replaces an object.
        Put = "put",
        /// Changes an object.
        Patch = "patch",
        /// Deletes an object.
        Delete = "delete",
        /// Any other method.
        Other = "other",
    }
}

label_values! {
    /// Outcome of a request for a CRL.
    CrlAnswer {
        /// The CRL.
        Served = "served",
        /// The client has the CRL already.
        NotModified = "not-modified",
        /// There is no such CRL.
        NotFound = "not-found",
        /// This replica has not read the stored CRLs yet.
        NotReady = "not-ready",
        /// The method is neither GET nor HEAD.
        NotAllowed = "not-allowed",
    }
}

label_values! {
    /// Step at which a CRL could not be published.
    CrlFailure {
        /// The stored state could not be read or written.
        Store = "store",
        /// The stored state is older than a published CRL.
        Older = "older",
        /// No ready issuer of the CA has the key.
        Key = "key",
        /// The CRL could not be prepared.
        Prepare = "prepare",
        /// The issuance log did not accept a line.
        Log = "log",
        /// The token did not sign, or the signature does not verify.
        Sign = "sign",
        /// The copies for others could not be written.
        Copy = "copy",
    }
}

/// HTTP status of a call, or `None` without a response.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct ApiCode(pub(super) Option<u16>);

impl EncodeLabelValue for ApiCode {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => code.encode(encoder),
            None => "error".encode(encoder),
        }
    }
}

impl EncodeLabelValue for RequestKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

/// Defines a set of labels.
macro_rules! label_set {
    ($name:ident { $($label:ident: $type:ty),+ $(,)? }) => {
        #[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $label: $type),+ }
    };
}

label_set!(RequestLabels { kind: RequestKind, issuer_kind: &'static str, result: RequestResult });
label_set!(ReasonLabels { kind: RequestKind, issuer_kind: &'static str, reason: &'static str });
label_set!(KindLabel { kind: RequestKind });
label_set!(WaitLabels {
    kind: RequestKind,
    reason: WaitReason
});
label_set!(StageLabel { stage: TimedStage });
label_set!(BugLabels { bug: &'static str });
label_set!(LintLabels { lint: &'static str });

label_set!(TokenLabel { token: String });
label_set!(SignLabels {
    token: String,
    outcome: SignOutcome
});
label_set!(CallLabels {
    token: String,
    function: TokenFunction
});
label_set!(CodeLabels { token: String, code: &'static str });
label_set!(TokenLabels { token: String, state: &'static str });
label_set!(EndLabels { token: String, reason: &'static str });
label_set!(LoginLabels { token: String, outcome: &'static str });
label_set!(PinLabels { token: String, flag: &'static str });
label_set!(SessionLabels { token: String, state: &'static str });

label_set!(IssuerLabels { kind: &'static str, reason: &'static str });
label_set!(OneIssuerLabels { issuer_kind: &'static str, issuer_namespace: String, issuer: String });
label_set!(IssuerResultLabels {
    issuer_kind: &'static str,
    issuer_namespace: String,
    issuer: String,
    result: RequestResult,
});

label_set!(WatchLabel { kind: &'static str });
label_set!(ReloadLabels { result: &'static str });
label_set!(RenewalLabels {
    result: LeaseRenewal
});
label_set!(ApiLabels {
    verb: ApiVerb,
    code: ApiCode
});
label_set!(VerbLabel { verb: ApiVerb });

label_set!(CaLabel { ca: String });
label_set!(CrlAnswerLabels { outcome: CrlAnswer });
label_set!(CrlFailureLabels { step: CrlFailure });
label_set!(RevocationLabels {
    result: RevocationResult
});
