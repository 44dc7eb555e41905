//! What to do with a request, by what was seen of it and its issuer. No client, no clock.

/// What was seen, reduced to what the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether `issuerRef` names one of our kinds.
    pub ours: bool,
    /// What approvers said.
    pub approval: Approval,
    /// Whether somebody declared it invalid.
    pub invalid: bool,
    /// What our `Ready` condition says.
    pub progress: Progress,
    /// Whether `status.certificate` holds anything.
    pub has_certificate: bool,
    /// The issuer.
    pub issuer: IssuerFact,
    /// Which replica it is for.
    pub share: Share,
}

/// The conditions `Approved` and `Denied`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Neither, and approval is asked for.
    Awaited,
    /// Approved, or approval is not asked for.
    Approved,
    /// Denied, whatever else.
    Denied,
}

/// The reason of the `Ready` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No `Ready` condition, or Pending, or a reason that is not of the contract.
    Open,
    /// Denied has been acknowledged.
    Denied,
    /// Failed.
    Failed,
    /// Issued.
    Issued,
}

/// What is known of the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerFact {
    /// There is no such object.
    Missing,
    /// It exists, and has not been looked at in its present generation.
    Unknown,
    /// It cannot sign; the reason of its condition.
    NotReady(&'static str),
    /// It can sign.
    Ready,
}

/// Among several replicas, which one acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// This one.
    Own,
    /// Another, or at this moment none.
    Others,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing, and write nothing.
    Leave(Why),
    /// Acknowledge the denial.
    Deny,
    /// Say what is waited for.
    Wait(Waiting),
    /// Sign and publish.
    Issue,
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Another issuer's.
    NotOurs,
    /// Nobody has approved it yet.
    NotApproved,
    /// Nothing will change it any more.
    Finished,
    /// What is due is for another replica to do.
    NotOurShare,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The issuer to be created.
    IssuerMissing,
    /// The issuer to be looked at.
    IssuerUnknown,
    /// The issuer to become ready.
    IssuerNotReady(&'static str),
}

/// The state machine of cert-manager.md 1.11, rows 1 to 5 and 8, for the one replica that acts.
#[must_use]
pub fn decide(facts: &Facts) -> Decision {
    match (due(facts), facts.share) {
        (Decision::Deny | Decision::Wait(_) | Decision::Issue, Share::Others) => {
            Decision::Leave(Why::NotOurShare)
        }
        (decision @ Decision::Leave(_), Share::Others) | (decision, Share::Own) => decision,
    }
}

/// What is to be done, by whomever.
fn due(facts: &Facts) -> Decision {
    let Facts {
        ours,
        approval,
        invalid,
        progress,
        has_certificate,
        issuer,
        share: _,
    } = *facts;
    match (ours, approval, progress, invalid || has_certificate, issuer) {
        (false, _, _, _, _) => Decision::Leave(Why::NotOurs),
        (true, Approval::Denied, Progress::Open | Progress::Failed | Progress::Issued, _, _) => {
            Decision::Deny
        }
        (true, Approval::Denied, Progress::Denied, _, _)
        | (
            true,
            Approval::Awaited | Approval::Approved,
            Progress::Denied | Progress::Failed | Progress::Issued,
            _,
            _,
        )
        | (true, Approval::Awaited | Approval::Approved, Progress::Open, true, _) => {
            Decision::Leave(Why::Finished)
        }
        (true, Approval::Awaited, Progress::Open, false, _) => Decision::Leave(Why::NotApproved),
        (true, Approval::Approved, Progress::Open, false, IssuerFact::Missing) => {
            Decision::Wait(Waiting::IssuerMissing)
        }
        (true, Approval::Approved, Progress::Open, false, IssuerFact::Unknown) => {
            Decision::Wait(Waiting::IssuerUnknown)
        }
        (true, Approval::Approved, Progress::Open, false, IssuerFact::NotReady(reason)) => {
            Decision::Wait(Waiting::IssuerNotReady(reason))
        }
        (true, Approval::Approved, Progress::Open, false, IssuerFact::Ready) => Decision::Issue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUE: Facts = Facts {
        ours: true,
        approval: Approval::Approved,
        invalid: false,
        progress: Progress::Open,
        has_certificate: false,
        issuer: IssuerFact::Ready,
        share: Share::Own,
    };

    #[test]
    fn every_row_of_the_state_machine() {
        let rows = [
            (
                "an approved request of a ready issuer is signed",
                DUE,
                Decision::Issue,
            ),
            (
                "a foreign request is left alone even when denied",
                Facts {
                    ours: false,
                    approval: Approval::Denied,
                    ..DUE
                },
                Decision::Leave(Why::NotOurs),
            ),
            (
                "nothing is written before approval",
                Facts {
                    approval: Approval::Awaited,
                    ..DUE
                },
                Decision::Leave(Why::NotApproved),
            ),
            (
                "nothing is written before approval, even for a missing issuer",
                Facts {
                    approval: Approval::Awaited,
                    issuer: IssuerFact::Missing,
                    ..DUE
                },
                Decision::Leave(Why::NotApproved),
            ),
            (
                "a denial is acknowledged",
                Facts {
                    approval: Approval::Denied,
                    ..DUE
                },
                Decision::Deny,
            ),
            (
                "a denial is acknowledged whatever the issuer",
                Facts {
                    approval: Approval::Denied,
                    issuer: IssuerFact::Missing,
                    ..DUE
                },
                Decision::Deny,
            ),
            (
                "a denial is acknowledged once",
                Facts {
                    approval: Approval::Denied,
                    progress: Progress::Denied,
                    ..DUE
                },
                Decision::Leave(Why::Finished),
            ),
            (
                "an issued request is finished",
                Facts {
                    progress: Progress::Issued,
                    ..DUE
                },
                Decision::Leave(Why::Finished),
            ),
            (
                "a failed request is finished",
                Facts {
                    progress: Progress::Failed,
                    ..DUE
                },
                Decision::Leave(Why::Finished),
            ),
            (
                "an invalid request is finished",
                Facts {
                    invalid: true,
                    ..DUE
                },
                Decision::Leave(Why::Finished),
            ),
            (
                "a request with a certificate is finished whatever Ready says",
                Facts {
                    has_certificate: true,
                    ..DUE
                },
                Decision::Leave(Why::Finished),
            ),
            (
                "a missing issuer is waited for",
                Facts {
                    issuer: IssuerFact::Missing,
                    ..DUE
                },
                Decision::Wait(Waiting::IssuerMissing),
            ),
            (
                "an issuer that was edited is waited for until it was looked at",
                Facts {
                    issuer: IssuerFact::Unknown,
                    ..DUE
                },
                Decision::Wait(Waiting::IssuerUnknown),
            ),
            (
                "an issuer that is not ready is waited for",
                Facts {
                    issuer: IssuerFact::NotReady("KeyNotFound"),
                    ..DUE
                },
                Decision::Wait(Waiting::IssuerNotReady("KeyNotFound")),
            ),
        ];
        for (rule, facts, expected) in rows {
            assert_eq!(decide(&facts), expected, "{rule}");
        }
    }

    #[test]
    fn a_replica_does_nothing_about_anothers_share_and_sees_what_is_finished() {
        let others = Facts {
            share: Share::Others,
            ..DUE
        };
        let not_ours = Decision::Leave(Why::NotOurShare);
        assert_eq!(decide(&others), not_ours);
        for facts in [
            Facts {
                approval: Approval::Denied,
                ..others
            },
            Facts {
                issuer: IssuerFact::Missing,
                ..others
            },
        ] {
            assert_eq!(decide(&facts), not_ours);
        }
        for (facts, why) in [
            (
                Facts {
                    ours: false,
                    ..others
                },
                Why::NotOurs,
            ),
            (
                Facts {
                    approval: Approval::Awaited,
                    ..others
                },
                Why::NotApproved,
            ),
            // So that a certificate that was signed here and not published is named.
            (
                Facts {
                    progress: Progress::Issued,
                    ..others
                },
                Why::Finished,
            ),
        ] {
            assert_eq!(decide(&facts), Decision::Leave(why));
        }
    }
}
