//! The live replicas, for people.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Ownership;

/// A live replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaState {
    /// Name of its Lease.
    lease: String,
    /// Whether it is this one.
    is_own: bool,
    /// The tokens that it can sign with.
    tokens: BTreeSet<String>,
}

impl Ownership {
    /// Returns the replicas whose Leases are live, by the names of their Leases.
    #[must_use]
    pub fn replicas(&self) -> Vec<ReplicaState> {
        self.read(|view| {
            let replicas = view.replicas().into_iter();
            replicas
                .map(|(lease, tokens)| ReplicaState {
                    lease: lease.to_owned(),
                    is_own: view.is_called(lease),
                    tokens: tokens.clone(),
                })
                .collect()
        })
    }
}
