//! `/debug/state` of the running controller.

use std::sync::Arc;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    pipeline::now,
    reconcile::{About, Context, Queues, State},
    server::{DebugServer, Readiness, StateSource},
    telemetry::LastErrors,
};

/// The server of `/debug/state`, with what it shows besides the controller itself.
pub(super) struct Debug {
    pub(super) server: DebugServer,
    pub(super) errors: LastErrors,
}

impl Debug {
    /// Answers until `stop` is cancelled.
    pub(super) async fn serve(
        self,
        context: Arc<Context>,
        queues: Queues,
        process: About,
        readiness: Readiness,
        stop: CancellationToken,
    ) {
        let Self { server, errors } = self;
        let queues = Arc::new(queues);
        let source: StateSource = Arc::new(move || {
            let (context, queues) = (Arc::clone(&context), Arc::clone(&queues));
            let (process, readiness) = (process.clone(), readiness.clone());
            let errors = errors.clone();
            async move {
                let ready = readiness.get();
                let state = State::read(&context, &queues, process, ready, &errors, now());
                state.await.json()
            }
            .boxed()
        });
        server.serve(source, stop).await;
    }
}
