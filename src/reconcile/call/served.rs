//! Asks the API server which resources it serves.

use std::time::Instant;

use kube::Client;
use tokio::time::sleep;

use super::{
    backoff::WatchPause,
    trouble::{Trouble, is_right_or_kind_missing},
};

/// Returns whether the API server serves a resource in this version of its group. Asks until the API server answers.
pub(in crate::reconcile) async fn serves(
    client: &Client,
    version: &str,
    resource: &str,
    trouble: &mut Trouble,
) -> bool {
    let mut pause = WatchPause::new();
    loop {
        match client.list_api_group_resources(version).await {
            Ok(list) => return list.resources.iter().any(|one| one.name == resource),
            Err(kube::Error::Api(status)) if status.code == 404 => return false,
            Err(error) => {
                trouble.report(&error);
                sleep(pause.after(is_right_or_kind_missing(&error), Instant::now())).await;
            }
        }
    }
}
