//! Why the API server tells no more of a kind for a moment.

/// An interruption of a list or a watch. It is begun again after a pause.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    /// A page of the list.
    #[error("failed to read a page of the list")]
    List(#[source] kube::Error),
    /// The API server tells no version, from which to watch.
    #[error("the API server has sent a list without a resourceVersion")]
    NoVersion,
    /// The watch, at its beginning or later.
    #[error("the watch was interrupted")]
    Watch(#[source] kube::Error),
}
