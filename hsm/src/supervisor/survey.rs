//! Asks a library for all of its tokens, by a worker that describes them and ends. Nothing is logged in to.

use std::time::Duration;

use bytes::BytesMut;
use tokio::{io::AsyncWriteExt as _, net::UnixStream, time::timeout};
use tracing::info;

use super::{
    Launch, WorkerEnd, answered_within,
    process::{Process, Started},
    run::PATIENCE,
};
use crate::{
    client::{GreetError, chain, read_frame},
    lines::WorkerLines,
    protocol::{Hello, HelloReply, Inbox, MOST_TOKENS, Moment, SeenSlot, append_hello},
};

/// Time on top of the limit of one call in which all tokens are described.
const ALL_WITHIN: Duration = Duration::from_secs(60);

/// Why there is no list.
enum Missed {
    Exchange(GreetError),
    End(WorkerEnd),
}

impl<E: Into<GreetError>> From<E> for Missed {
    fn from(error: E) -> Self {
        Self::Exchange(error.into())
    }
}

/// Returns every slot of the library that has a token. A call into the library that lasts longer than `hang_after` ends the
/// worker; the whole may last a minute longer.
///
/// # Errors
/// The worker could not be started, cannot load the library, or ended without an answer.
pub async fn survey(launch: &Launch, hang_after: Duration) -> Result<Vec<SeenSlot>, WorkerEnd> {
    let Started {
        process,
        socket,
        stderr,
    } = Process::start(launch).await?;
    let lines =
        stderr.map(|stderr| WorkerLines::follow(stderr, |line| info!(line, "the worker wrote")));
    let limit = answered_within(hang_after).saturating_add(ALL_WITHIN);
    // The socket is closed at the end of this, and the worker then ends.
    let asked = timeout(limit, ask(socket, hang_after)).await;
    let status = process.end(PATIENCE).await;
    if let Some(lines) = lines {
        lines.end().await;
    }
    match asked {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(Missed::End(end))) => Err(end),
        Ok(Err(Missed::Exchange(GreetError::Frame(error)))) => {
            Err(WorkerEnd::Incomprehensible { why: chain(&error) })
        }
        Ok(Err(Missed::Exchange(error @ GreetError::AnotherQuestion))) => {
            Err(WorkerEnd::Incomprehensible { why: chain(&error) })
        }
        Ok(Err(Missed::Exchange(GreetError::Closed | GreetError::Io(_)))) => {
            Err(WorkerEnd::Crashed { status })
        }
        Err(_elapsed) => Err(WorkerEnd::Unresponsive),
    }
}

async fn ask(mut socket: UnixStream, hang_after: Duration) -> Result<Vec<SeenSlot>, Missed> {
    let mut out = BytesMut::new();
    let hello = Hello {
        said: Moment::now(),
        token: None,
        sessions: None,
        hang_after_ms: u32::try_from(hang_after.as_millis()).unwrap_or(u32::MAX),
    };
    append_hello(&mut out, &hello)?;
    socket.write_all(&out).await?;
    let mut inbox = Inbox::default();
    let reply = read_frame(&mut socket, &mut inbox, Inbox::hello::<HelloReply>).await?;
    let count = match reply {
        HelloReply::Tokens { count } if count <= MOST_TOKENS => count,
        HelloReply::Tokens { .. } | HelloReply::Found { .. } => {
            return Err(GreetError::AnotherQuestion.into());
        }
        HelloReply::NotFound(why) => return Err(Missed::End(WorkerEnd::NoToken(why))),
        HelloReply::Ended(ending) => return Err(Missed::End(WorkerEnd::Said(ending))),
    };
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(read_frame(&mut socket, &mut inbox, Inbox::frame::<SeenSlot>).await?);
    }
    Ok(seen)
}
