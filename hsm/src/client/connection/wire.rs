//! The two tasks on a socket: one reads responses, one writes everything asked since its last write.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};
use zeroize::Zeroize;

use super::{Connection, Lost, chain, lock};
use crate::protocol::{FromWorker, Inbox, MAX_FRAME};

/// Hands every response to who waits for it, until the connection ends.
pub(super) async fn read_all(connection: Arc<Connection>, read: OwnedReadHalf, inbox: Inbox) {
    let why = read_until_end(&connection, read, inbox).await;
    connection.end(why);
}

async fn read_until_end(
    connection: &Connection,
    mut read: OwnedReadHalf,
    mut inbox: Inbox,
) -> Lost {
    loop {
        match inbox.frame::<FromWorker>() {
            Err(error) => return Lost::Incomprehensible(chain(&error)),
            Ok(Some(FromWorker::Ending(ending))) => return Lost::Said(ending),
            Ok(Some(FromWorker::Response { id, outcome })) => {
                // An id that nobody waits for is a worker's fault that harms nobody.
                let waiting = lock(&connection.pending).waiting.remove(&id);
                if let Some(waiting) = waiting {
                    // The asker may have given up.
                    drop(waiting.reply.send(outcome));
                }
            }
            Ok(None) => match read.read_buf(inbox.buffer()).await {
                Ok(0) => return Lost::Closed,
                Ok(_) => {}
                Err(error) => return Lost::Broken(chain(&error)),
            },
        }
    }
}

/// Writes everything that was appended since the last write at once.
pub(super) async fn write_all(connection: Arc<Connection>, mut write: OwnedWriteHalf) {
    let mut batch = BytesMut::with_capacity(2 * MAX_FRAME);
    loop {
        connection.written.notified().await;
        std::mem::swap(&mut batch, &mut *lock(&connection.outbox));
        let result = write.write_all(&batch).await;
        // A PIN may have been among it.
        batch.as_mut().zeroize();
        batch.clear();
        if let Err(error) = result {
            // The reader may still find last words in the socket; it ends the connection.
            tracing::debug!(%error, "failed to write to the HSM worker");
            return;
        }
    }
}
