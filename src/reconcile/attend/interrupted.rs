//! Reasons why a list or a watch was interrupted.

/// Interruption of a list or a watch, which starts again after a pause.
#[derive(Debug, thiserror::Error)]
pub(in crate::reconcile) enum Interrupted {
    /// A page of the list could not be read.
    #[error("failed to read a page of the list")]
    List(#[source] kube::Error),
    /// The list has no version to start the watch from.
    #[error("the API server has sent a list without a resourceVersion")]
    NoVersion,
    /// The watch failed, when it was opened or later.
    #[error("the watch was interrupted")]
    Watch(#[source] kube::Error),
}
