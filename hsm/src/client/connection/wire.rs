//! Reading and writing on the socket: writes requests as soon as the socket accepts them, and hands each response to
//! the caller that waits for it.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
};

use bytes::{Buf, BytesMut};
use tokio::io::{Interest, unix::AsyncFd};
use zeroize::Zeroize;

use super::{Connection, Lost, Waiting, chain};
use crate::protocol::{FrameError, FromWorker, Inbox, Request, append};

/// Watches the socket for one kind of readiness. If writability were watched all the time, every request that the
/// worker reads would wake this process, although the socket nearly always has room.
#[expect(
    deprecated,
    reason = "its successor is unsafe for descriptors that may change; a stream owns one and keeps it"
)]
pub(super) fn watched(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

/// Hands every response to the caller that waits for it, until the connection ends.
pub(super) async fn read_all(connection: Arc<Connection>, inbox: Inbox) {
    let why = read_until_end(&connection, inbox).await;
    connection.end(why);
}

async fn read_until_end(connection: &Connection, mut inbox: Inbox) -> Lost {
    loop {
        match inbox.frame::<FromWorker>() {
            Err(error) => return Lost::Incomprehensible(chain(&error)),
            Ok(Some(FromWorker::ExitReason(ending))) => return Lost::Said(ending),
            Ok(Some(FromWorker::Response { id, outcome })) => {
                // An id that nobody waits for is a bug of the worker, but harmless.
                let waiting = connection.pending.lock().waiting.remove(&id);
                if let Some(Waiting { reply, place, .. }) = waiting {
                    // Free the place first: the next request then goes out before the caller handles the answer.
                    drop(place);
                    // The caller may have given up.
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

/// Writes the octets that the socket did not accept at once.
pub(super) async fn write_rest(connection: Arc<Connection>) {
    loop {
        connection.blocked.notified().await;
        // After an error the write fails and reports it.
        room(connection.socket.get_ref()).await.ok();
        connection.write(&mut connection.outbox.lock());
    }
}

async fn room(socket: &UnixStream) -> io::Result<()> {
    let watched = watched(socket.try_clone()?, Interest::WRITABLE)?;
    watched.writable().await?.retain_ready();
    Ok(())
}

impl Connection {
    /// Sends a request after those that are not written yet. Does not block.
    pub(super) fn send(&self, request: &Request) -> Result<(), FrameError> {
        let mut outbox = self.outbox.lock();
        append(&mut outbox, request)?;
        self.write(&mut outbox);
        Ok(())
    }

    fn write(&self, outbox: &mut BytesMut) {
        while !outbox.is_empty() {
            match self.socket.get_ref().write(outbox) {
                Ok(written) => {
                    // The octets may hold a PIN.
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
                    // The reader ends the connection: the socket may still hold the worker's reason for ending.
                    tracing::debug!(%error, "failed to write to the HSM worker");
                    outbox.as_mut().zeroize();
                    outbox.clear();
                }
            }
        }
    }
}
