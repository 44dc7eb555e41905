//! Reads objects with the user's own rights. What they may not read is a gap, not a failure.

use std::{fmt::Debug, sync::Arc};

use anyhow::{Context as _, bail};
use kube::{Api, Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use super::read::{Gap, Read};
use crate::{
    args::ClusterFlags,
    cli::{
        run::client::client_of_user,
        version::{COMMIT, VERSION},
    },
    message::shown,
    metrics::Metrics,
};

/// Objects per page of a list.
const PAGE: u32 = 500;

/// A cluster, as one user sees it.
pub(super) struct Cluster {
    /// The user's client.
    pub(super) client: Client,
    /// The namespace of requests and of namespaced issuers.
    pub(super) namespace: String,
}

impl Cluster {
    /// Sets up a client. Calls nothing yet.
    pub(super) async fn connect(flags: &ClusterFlags) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new(VERSION, COMMIT));
        let (kubeconfig, context) = (flags.kubeconfig.as_deref(), flags.context.as_deref());
        let client = client_of_user(kubeconfig, context, &metrics).await?;
        let namespace = flags.namespace.clone();
        Ok(Self {
            namespace: namespace.unwrap_or_else(|| client.default_namespace().to_owned()),
            client,
        })
    }

    /// Reads one object. `part` says what is unknown without it.
    ///
    /// # Errors
    /// The API server cannot be reached or does not know the user.
    pub(super) async fn get<K>(
        &self,
        api: &Api<K>,
        namespace: Option<&str>,
        name: &str,
        part: &str,
    ) -> anyhow::Result<Read<K>>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        match api.get(name).await {
            Ok(found) => Ok(Read::Found(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Read::Missing),
            Err(error) => Ok(Read::Unknown(gap::<K>(error, "get", namespace, part)?)),
        }
    }

    /// Reads a list, a page at a time, and keeps what `keep` makes of each object. `Missing` is a kind that is not installed.
    ///
    /// # Errors
    /// The API server cannot be reached or does not know the user.
    pub(super) async fn list<K, T>(
        &self,
        api: &Api<K>,
        namespace: Option<&str>,
        selected: ListParams,
        part: &str,
        keep: impl Fn(K) -> Option<T>,
    ) -> anyhow::Result<Read<Vec<T>>>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let mut params = selected.limit(PAGE);
        let mut kept = Vec::new();
        loop {
            let page = match api.list(&params).await {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Read::Missing),
                Err(error) => {
                    return Ok(Read::Unknown(gap::<K>(error, "list", namespace, part)?));
                }
            };
            let next = page.metadata.continue_.filter(|next| !next.is_empty());
            kept.extend(page.items.into_iter().filter_map(&keep));
            match next {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(Read::Found(kept)),
            }
        }
    }
}

/// Returns what a failed call leaves unknown or undone.
///
/// # Errors
/// The API server cannot be reached or does not know the user.
pub(super) fn gap<K: Resource<DynamicType = ()>>(
    error: kube::Error,
    verb: &'static str,
    namespace: Option<&str>,
    part: &str,
) -> anyhow::Result<Gap> {
    let kube::Error::Api(status) = error else {
        return Err(error)
            .context("the API server cannot be used; check the kubeconfig and the network");
    };
    if status.code == 401 {
        bail!("the API server does not accept your credentials; log in again, or give --context");
    }
    let (plural, group) = (K::plural(&()), K::group(&()));
    Ok(Gap {
        part: part.to_owned(),
        verb,
        resource: match group.is_empty() {
            true => plural.into_owned(),
            false => format!("{plural}.{group}"),
        },
        namespace: namespace.map(str::to_owned),
        error: (status.code != 403).then(|| shown(&status.message)),
    })
}
