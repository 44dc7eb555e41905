//! Events for people, best effort. They wait in a bounded queue behind the status writes, so that an Event never delays
//! a certificate.

mod reason;

use std::{fmt, sync::Arc, time::Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(super) use self::reason::EventReason;
use crate::{
    api::FIELD_MANAGER,
    message::shown,
    metrics::Metrics,
    telemetry::{ErrorChain, RepeatFilter},
};

/// The `reportingController` of our Events.
pub(crate) const CONTROLLER: &str = "pkcs11-issuer.dev/pkcs11-issuer";
/// How many Events may wait; any further one is dropped and counted.
const QUEUE: usize = 1024;
/// How much of the object's name goes into the Event's name. The API server itself shortens the prefix of a generated
/// name to 58 characters.
const MAX_NAME_PREFIX: usize = 200;

/// Content of an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    reason: EventReason,
    note: String,
    /// Whether it tells of what somebody has configured, and of no failure.
    is_wanted: bool,
}

/// Queue of Events that never makes its caller wait.
#[derive(Clone, Debug)]
pub struct Events {
    /// `None` if no Events are wanted.
    queue: Option<mpsc::Sender<(Notice, ObjectReference, Timestamp)>>,
    metrics: Arc<Metrics>,
}

impl Notice {
    /// Creates a notice. [`shown`] shortens the note, because the API server refuses longer notes.
    #[must_use]
    pub(super) fn new(reason: EventReason, note: impl fmt::Display) -> Self {
        let note = shown(note);
        Self {
            reason,
            note,
            is_wanted: false,
        }
    }

    /// Returns the same notice, as one that tells of what somebody has configured.
    #[must_use]
    pub(super) fn wanted(self) -> Self {
        Self {
            is_wanted: true,
            ..self
        }
    }

    /// Returns whether it tells of what somebody has configured, and of no failure.
    #[must_use]
    pub(super) const fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Returns the reason.
    #[must_use]
    pub(super) const fn reason(&self) -> EventReason {
        self.reason
    }

    /// Returns the note.
    #[must_use]
    pub(super) fn note(&self) -> &str {
        &self.note
    }
}

impl Events {
    /// Starts the one task that writes Events. After `close` it accepts no more of them and ends when the queue is
    /// empty.
    #[must_use]
    pub fn start(
        client: Client,
        instance: String,
        metrics: Arc<Metrics>,
        close: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        let counted = Arc::clone(&metrics);
        let task = tokio::spawn(async move {
            let mut said = RepeatFilter::default();
            let mut next = async || {
                tokio::select! {
                    next = waiting.recv() => next,
                    () = close.cancelled() => {
                        waiting.close();
                        waiting.recv().await
                    }
                }
            };
            while let Some((notice, regarding, at)) = next().await {
                let event = event(notice, regarding, at, &instance);
                let namespace = event.metadata.namespace.clone().unwrap_or_default();
                let api = Api::<Event>::namespaced(client.clone(), &namespace);
                let params = PostParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PostParams::default()
                };
                if let Err(error) = api.create(&params, &event).await {
                    counted.event_dropped();
                    let error = ErrorChain(&error).to_string();
                    if said.is_news(&error, Instant::now()) {
                        warn!(error, "failed to write events; they are counted");
                    }
                }
            }
        });
        (
            Self {
                queue: Some(queue),
                metrics,
            },
            task,
        )
    }

    /// Returns a queue that discards Events and does not count them as dropped.
    #[must_use]
    pub fn none(metrics: Arc<Metrics>) -> Self {
        Self {
            queue: None,
            metrics,
        }
    }

    /// Returns how many Events wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue
            .as_ref()
            .map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Queues an Event about an object, or drops and counts it.
    pub(super) fn publish(&self, notice: Notice, regarding: ObjectReference, now: Timestamp) {
        let Some(queue) = &self.queue else {
            return;
        };
        if queue.try_send((notice, regarding, now)).is_err() {
            self.metrics.event_dropped();
        }
    }
}

fn event(notice: Notice, regarding: ObjectReference, at: Timestamp, instance: &str) -> Event {
    let Notice { reason, note, .. } = notice;
    Event {
        action: Some("Sign".to_owned()),
        event_time: Some(MicroTime(at)),
        metadata: ObjectMeta {
            // The API server requires Events about objects without a namespace to lie in `default`.
            namespace: Some(
                regarding
                    .namespace
                    .clone()
                    .unwrap_or_else(|| "default".to_owned()),
            ),
            generate_name: Some(name_prefix(regarding.name.as_deref().unwrap_or("unknown"))),
            ..ObjectMeta::default()
        },
        note: Some(note),
        reason: Some(reason.as_str().to_owned()),
        regarding: Some(regarding),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(reason.type_().to_owned()),
        ..Event::default()
    }
}

/// Returns the prefix of the name of an Event about the object. The API server refuses a prefix that ends with a dot
/// (1.37) or has more than 253 characters. An object's name alone may have 253.
fn name_prefix(object: &str) -> String {
    format!("{}-", object.get(..MAX_NAME_PREFIX).unwrap_or(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_no_longer_than_the_api_server_takes() {
        let notice = Notice::new(EventReason::Issued, "a".repeat(2000));
        let event = event(
            notice,
            ObjectReference::default(),
            Timestamp::UNIX_EPOCH,
            "me",
        );
        assert_eq!(event.note.unwrap().len(), 1024);
    }

    #[test]
    fn an_event_about_a_cluster_object_lies_in_default() {
        let event = event(
            Notice::new(EventReason::Ready, String::new()),
            ObjectReference::default(),
            Timestamp::UNIX_EPOCH,
            "me",
        );
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    }

    #[test]
    fn an_event_is_named_after_its_object_as_far_as_there_is_room() {
        assert_eq!(name_prefix("web-1"), "web-1-");
        assert_eq!(
            name_prefix(&"a".repeat(253)),
            format!("{}-", "a".repeat(MAX_NAME_PREFIX))
        );
    }
}
