//! What goes over the socket: requests at once or as soon as it takes them, responses to who waits for them.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
};

use bytes::{Buf, BytesMut};
use tokio::io::{Interest, unix::AsyncFd};
use zeroize::Zeroize;

use super::{Connection, Lost, Waiting, chain, lock};
use crate::protocol::{FrameError, FromWorker, Inbox, Request, append};

/// The socket, watched for one thing. Watched for room to write, it would wake us for every request that the worker
/// takes, and there is always room.
#[expect(
    deprecated,
    reason = "its successor is unsafe for descriptors that may change; a stream owns one and keeps it"
)]
pub(super) fn watched(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

/// Hands every response to who waits for it, until the connection ends.
pub(super) async fn read_all(connection: Arc<Connection>, inbox: Inbox) {
    let why = read_until_end(&connection, inbox).await;
    connection.end(why);
}

async fn read_until_end(connection: &Connection, mut inbox: Inbox) -> Lost {
    loop {
        match inbox.frame::<FromWorker>() {
            Err(error) => return Lost::Incomprehensible(chain(&error)),
            Ok(Some(FromWorker::Ending(ending))) => return Lost::Said(ending),
            Ok(Some(FromWorker::Response { id, outcome })) => {
                // An id that nobody waits for is a worker's fault that harms nobody.
                let waiting = lock(&connection.pending).waiting.remove(&id);
                if let Some(Waiting { reply, place, .. }) = waiting {
                    // First the place: the next request goes out before the asker looks at the answer.
                    drop(place);
                    // The asker may have given up.
                    drop(reply.send(outcome));
                }
            }
            Ok(None) => match read(connection, &mut inbox).await {
                Ok(0) => return Lost::Closed,
                Ok(_) => {}
                Err(error) => return Lost::Broken(chain(&error)),
            },
        }
    }
}

async fn read(connection: &Connection, inbox: &mut Inbox) -> io::Result<usize> {
    let mut octets = [0; 4096];
    loop {
        let mut ready = connection.socket.readable().await?;
        match ready.try_io(|socket| socket.get_ref().read(&mut octets)) {
            Err(_would_block) => {}
            Ok(done) => {
                let length = done?;
                inbox.extend(octets.get(..length).unwrap_or_default());
                return Ok(length);
            }
        }
    }
}

/// Writes what the socket did not take at once.
pub(super) async fn write_rest(connection: Arc<Connection>) {
    loop {
        connection.blocked.notified().await;
        // An error is told by the write.
        room(connection.socket.get_ref()).await.ok();
        connection.write(&mut lock(&connection.outbox));
    }
}

async fn room(socket: &UnixStream) -> io::Result<()> {
    let watched = watched(socket.try_clone()?, Interest::WRITABLE)?;
    watched.writable().await?.retain_ready();
    Ok(())
}

impl Connection {
    /// Sends a request behind those that are not written yet. Does not block.
    pub(super) fn send(&self, request: &Request) -> Result<(), FrameError> {
        let mut outbox = lock(&self.outbox);
        append(&mut outbox, request)?;
        self.write(&mut outbox);
        Ok(())
    }

    fn write(&self, outbox: &mut BytesMut) {
        while !outbox.is_empty() {
            match self.socket.get_ref().write(outbox) {
                Ok(written) => {
                    // A PIN may have been among it.
                    if let Some(written) = outbox.get_mut(..written) {
                        written.zeroize();
                    }
                    outbox.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.notify_one();
                    return;
                }
                Err(error) => {
                    // The reader may still find last words in the socket; it ends the connection.
                    tracing::debug!(%error, "failed to write to the HSM worker");
                    outbox.as_mut().zeroize();
                    outbox.clear();
                }
            }
        }
    }
}
