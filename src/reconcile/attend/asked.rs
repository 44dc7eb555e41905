//! Questions for the state of the queues, which their tasks answer between two steps.

use std::{collections::HashMap, time::Duration};

use futures::future::join_all;
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::queue::QueueState;
use crate::audit::RequestKind;

/// How long an answer may take. A queue whose task is stuck is shown as unknown.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Receiver of the questions about one queue.
pub(super) type Asked = mpsc::Receiver<oneshot::Sender<QueueState>>;

/// The side that asks.
#[derive(Debug)]
pub struct Queues(Vec<(RequestKind, mpsc::Sender<oneshot::Sender<QueueState>>)>);

/// The side that answers: the receivers of all kinds.
#[derive(Debug)]
pub struct AskedQueues(HashMap<RequestKind, Asked>);

/// The queue of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueOfKind {
    kind: RequestKind,
    /// `None` if requests of this kind are not answered, or if the task does not answer in time.
    queue: Option<QueueState>,
}

impl Queues {
    /// Creates both sides.
    #[must_use]
    pub fn new() -> (Self, AskedQueues) {
        let (mut ask, mut asked) = (Vec::new(), HashMap::new());
        for kind in [
            RequestKind::CertificateRequest,
            RequestKind::CertificateSigningRequest,
            RequestKind::PodCertificateRequest,
        ] {
            let (sender, receiver) = mpsc::channel(1);
            ask.push((kind, sender));
            asked.insert(kind, receiver);
        }
        (Self(ask), AskedQueues(asked))
    }

    /// Asks all queues.
    pub(in crate::reconcile) async fn states(&self) -> Vec<QueueOfKind> {
        let all = self.0.iter().map(async |(kind, ask)| {
            let (sender, answer) = oneshot::channel();
            let asked = async {
                ask.send(sender).await.ok()?;
                answer.await.ok()
            };
            QueueOfKind {
                kind: *kind,
                queue: timeout(ANSWER_WITHIN, asked).await.ok().flatten(),
            }
        });
        join_all(all).await
    }
}

impl AskedQueues {
    /// Takes the receiver of one kind. If it was taken already, returns a receiver that gets no question.
    pub(super) fn take(&mut self, kind: RequestKind) -> Asked {
        self.0.remove(&kind).unwrap_or_else(|| mpsc::channel(1).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_state_of_a_queue_that_nobody_attends_to_is_unknown() {
        let (queues, mut asked) = Queues::new();
        let mut requests = asked.take(RequestKind::CertificateRequest);
        drop(asked);
        let state = QueueState::default();
        let answer = async {
            let question = requests.recv().await.unwrap();
            question.send(state.clone()).unwrap();
        };
        let (states, ()) = tokio::join!(queues.states(), answer);
        let known = [
            (RequestKind::CertificateRequest, Some(state)),
            (RequestKind::CertificateSigningRequest, None),
            (RequestKind::PodCertificateRequest, None),
        ];
        let known = known.map(|(kind, queue)| QueueOfKind { kind, queue });
        assert_eq!(states, known);
    }
}
