//! Takes, renews and gives back this replica's own Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};

use crate::api::FIELD_MANAGER;

use super::{
    archive::Archive,
    lease::{self, Content, Draft, LABEL, MEMBERSHIP, Tenure, Version},
};

/// Client for the Leases of the controller's namespace, with a time limit for each call.
#[derive(Clone)]
pub(super) struct Leases {
    pub(super) api: Api<Lease>,
    pub(super) answer_within: Duration,
}

/// Why a Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    #[error("failed to {verb} Lease {name}")]
    Api {
        verb: &'static str,
        name: String,
        source: Box<kube::Error>,
    },
    #[error("the API server took too long to {verb} Lease {name}")]
    TimedOut { verb: &'static str, name: String },
    #[error("others write to Lease {name} at the same time")]
    Contended { name: String },
    #[error(
        "another process runs as {identity:?} and has taken Lease {name}; give every replica an --identity of its own"
    )]
    TakenOver { name: String, identity: String },
}

/// The Lease of this process.
///
/// *Guarantees*: every write carries the version that this process knows, so two processes with one identity never both
/// believe that they hold the Lease; the later one holds it. What others wrote on the Lease stays.
pub(super) struct OwnLease {
    draft: Draft,
    leases: Leases,
    tenure: Option<Tenure>,
    /// The acquire time in the last write by which this process took the Lease or tried to take it. It identifies such
    /// a write if its answer never came.
    acquiring: Option<Timestamp>,
    /// Whether another process with this identity has taken the Lease from this one.
    taken_over: bool,
}

impl OwnLease {
    pub(super) fn new(draft: Draft, leases: Leases) -> Self {
        Self {
            draft,
            leases,
            tenure: None,
            acquiring: None,
            taken_over: false,
        }
    }

    /// Renews the Lease with this content, or creates it if there is none. When this process starts, it takes over an
    /// existing Lease of its name, left by a process that crashed, and first archives the checkpoint in it, or else keeps it
    /// in the Lease. After another process has taken the Lease from this one, this one takes it back only when the Lease is no
    /// longer `live`.
    pub(super) async fn renew(
        &mut self,
        content: Content<'_>,
        live: bool,
        archive: Option<&mut Archive>,
    ) -> Result<(), LeaseError> {
        let now = content.now;
        if let Some(tenure) = &self.tenure
            && let Some(renewed) = self.update(tenure, content).await?
        {
            self.tenure = Some(renewed);
            return Ok(());
        }
        let found = self.find().await?;
        self.acquiring = Some(now);
        let tenure = match (found, &self.tenure) {
            (None, _) => self.create(content).await?,
            // Somebody has edited the Lease, or the answer to a renewal of ours was lost.
            (Some(lease), Some(tenure)) if tenure.is_of(&lease) => {
                self.take(tenure.clone().at(&lease), content).await?
            }
            (Some(lease), None) if !(self.taken_over && live) => {
                let mut content = content;
                let last = lease::head(&lease);
                if let (Some(archive), Some(last)) = (archive, &last) {
                    archive.add(last.clone());
                    archive.settle().await;
                    // After a failure, the Lease is taken all the same.
                    let kept = archive.is_waiting().then_some(last);
                    content.head = content.head.or(kept);
                }
                self.take(Tenure::after(&lease, now), content).await?
            }
            (Some(_), _) => {
                self.tenure = None;
                self.taken_over = true;
                return Err(LeaseError::TakenOver {
                    name: self.draft.name.clone(),
                    identity: self.draft.identity.clone(),
                });
            }
        };
        self.tenure = Some(tenure);
        self.taken_over = false;
        Ok(())
    }

    /// Renews the Lease with this content if it belongs to this process; never creates it or takes it over. Returns whether
    /// the Lease was renewed.
    pub(super) async fn renew_held(&mut self, content: Content<'_>) -> Result<bool, LeaseError> {
        let Some(tenure) = self.tenure.clone() else {
            return Ok(false);
        };
        let renewed = match self.update(&tenure, content).await? {
            Some(renewed) => renewed,
            // Somebody has edited the Lease, or the answer to a renewal of ours was lost.
            None => match self.find().await? {
                Some(lease) if tenure.is_of(&lease) => {
                    self.take(tenure.at(&lease), content).await?
                }
                Some(_) | None => return Ok(false),
            },
        };
        self.tenure = Some(renewed);
        Ok(true)
    }

    /// Returns whether the Lease has this name.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.draft.name == name
    }

    /// Deletes the Lease if it belongs to this process, also if the answer to the write that took it never came.
    /// Returns whether the Lease was deleted.
    pub(super) async fn give_back(&mut self) -> Result<bool, LeaseError> {
        let name = &self.draft.name;
        let tenure = self.tenure.take();
        let acquired = tenure.as_ref().map(|tenure| tenure.acquired);
        let acquired = [acquired, self.acquiring.take()];
        if acquired == [None, None] {
            return Ok(false);
        }
        if let Some(tenure) = tenure {
            match self.leases.delete(name, tenure.version).await {
                Ok(()) => return Ok(true),
                // The answer to a write was lost, or somebody has edited the Lease.
                Err(LeaseError::Api { source, .. }) if is_another(&source) => {}
                Err(other) => return Err(other),
            }
        }
        let is_ours = |lease: &Lease| {
            let mut acquired = acquired.into_iter().flatten();
            acquired.any(|acquired| self.draft.has_acquired(lease, acquired))
        };
        match self.find().await?.filter(is_ours).as_ref().map(Version::of) {
            Some(Some(version)) => self.leases.delete(name, version).await.map(|()| true),
            Some(None) => Err(self.contended()),
            None => Ok(false),
        }
    }

    async fn find(&self) -> Result<Option<Lease>, LeaseError> {
        let name = &self.draft.name;
        let found = self.leases.api.get_opt(name);
        self.leases.call("get", name, found).await
    }

    async fn create(&self, content: Content<'_>) -> Result<Tenure, LeaseError> {
        let lease = self.draft.new_lease(content);
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let created = self.leases.api.create(&params, &lease);
        let stored = self.leases.write("create", &self.draft.name, created);
        let stored = stored.await?.ok_or_else(|| self.contended())?;
        self.known(Tenure::of_new(&stored, content.now))
    }

    async fn take(
        &self,
        tenure: Option<Tenure>,
        content: Content<'_>,
    ) -> Result<Tenure, LeaseError> {
        let tenure = self.known(tenure)?;
        let updated = self.update(&tenure, content).await?;
        updated.ok_or_else(|| self.contended())
    }

    /// Writes our fields of the Lease. Returns `None` if the Lease is not the one that this process knows.
    async fn update(
        &self,
        tenure: &Tenure,
        content: Content<'_>,
    ) -> Result<Option<Tenure>, LeaseError> {
        let lease = self.draft.renewed(tenure, content);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let (name, patch) = (&self.draft.name, Patch::Apply(&lease));
        let updated = self.leases.api.patch(name, &params, &patch);
        let stored = self.leases.write("update", name, updated);
        let stored = stored.await?;
        stored
            .map(|lease| self.known(tenure.clone().at(&lease)))
            .transpose()
    }

    /// Returns the tenure. An answer without UID or resourceVersion is an error: the object was not stored.
    fn known(&self, tenure: Option<Tenure>) -> Result<Tenure, LeaseError> {
        tenure.ok_or_else(|| self.contended())
    }

    fn contended(&self) -> LeaseError {
        LeaseError::Contended {
            name: self.draft.name.clone(),
        }
    }
}

impl Leases {
    /// Lists the Leases of all replicas.
    pub(super) async fn list(&self) -> Result<Vec<Lease>, LeaseError> {
        let params = ListParams::default().labels(&selector());
        let listed = self.call("list", "of the replicas", self.api.list(&params));
        Ok(listed.await?.items)
    }

    /// Deletes one version of a Lease and no other.
    pub(super) async fn delete(&self, name: &str, version: Version) -> Result<(), LeaseError> {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(version.uid),
            resource_version: Some(version.resource_version),
        });
        let deleted = self.call("delete", name, self.api.delete(name, &params));
        deleted.await.map(drop)
    }

    /// Makes a write. Returns `None` if the object does not exist, or is not the version that the write expects.
    async fn write(
        &self,
        verb: &'static str,
        name: &str,
        call: impl Future<Output = Result<Lease, kube::Error>>,
    ) -> Result<Option<Lease>, LeaseError> {
        match self.call(verb, name, call).await {
            Ok(lease) => Ok(Some(lease)),
            Err(LeaseError::Api { source, .. }) if is_another(&source) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        name: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, LeaseError> {
        let name = name.to_owned();
        match tokio::time::timeout(self.answer_within, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(LeaseError::Api {
                verb,
                name,
                source: Box::new(source),
            }),
            Err(_) => Err(LeaseError::TimedOut { verb, name }),
        }
    }
}

/// Returns the selector of the Leases of all replicas.
pub(super) fn selector() -> String {
    format!("{LABEL}={MEMBERSHIP}")
}

fn is_another(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}
