//! The connections of one listener: their number, their lifetime, and which one is closed when there are too many.
//!
//! Any client that reaches the listener can open connections and send almost nothing on them. So each connection is small
//! and has a limited lifetime, and there is always room for a new one.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Pause after a connection could not be accepted, for instance because the process has no file descriptor left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Limits for the clients of one listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// Connections that are open at the same time.
    pub(super) connections: usize,
    /// Octets of a request's header; hyper's buffer has at least 8192.
    pub(super) header: usize,
    /// How long a client may take to send a complete header, the pause before it included.
    pub(super) wait: Duration,
    /// How long a connection may live, even if its client does not read the answer.
    pub(super) life: Duration,
    /// Time limit for answers in progress once a connection or the process has to end.
    pub(super) drain: Duration,
}

/// Function that answers a request without reading its body. It must not block.
pub(super) type Responder =
    Arc<dyn Fn(&Request<Incoming>) -> BoxFuture<'static, Response<Full<Bytes>>> + Send + Sync>;

/// Answers until `stop` is cancelled, then ends within the time of [`ConnectionLimits::drain`].
pub(super) async fn serve(
    listener: TcpListener,
    answer: Responder,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let mut open = Connections::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = open.tasks.join_next_with_id() => {
                open.forget(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    open.make_room(limits.connections);
                    open.begin(stream, &answer, limits, &stop);
                }
                // The error concerns one connection or a limit of the machine. Either passes.
                Err(_) => sleep(ACCEPT_AGAIN_AFTER).await,
            },
        }
    }
    let rest = async { while open.tasks.join_next().await.is_some() {} };
    // Connections that are still open after that are closed when the set is dropped.
    timeout(limits.drain, rest).await.ok();
}

/// The open connections, oldest first.
#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
    open: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    task: AbortHandle,
    /// Whether the client has ever sent a complete header.
    has_asked: Arc<AtomicBool>,
}

impl Connections {
    /// Closes a connection if the limit is reached: the oldest one without a complete header yet, or else the oldest of all.
    fn make_room(&mut self, most: usize) {
        if self.open.len() < most {
            return;
        }
        let has_not_asked = |connection: &Connection| !connection.has_asked.load(Ordering::Relaxed);
        let index = self.open.iter().position(has_not_asked).unwrap_or_default();
        if index < self.open.len() {
            self.open.remove(index).task.abort();
        }
    }

    fn begin(
        &mut self,
        stream: TcpStream,
        answer: &Responder,
        limits: ConnectionLimits,
        stop: &CancellationToken,
    ) {
        let has_asked = Arc::<AtomicBool>::default();
        let task = self.tasks.spawn(attend(
            stream,
            Arc::clone(answer),
            Arc::clone(&has_asked),
            limits,
            stop.clone(),
        ));
        self.open.push(Connection { task, has_asked });
    }

    fn forget(&mut self, ended: tokio::task::Id) {
        self.open.retain(|connection| connection.task.id() != ended);
    }
}

async fn attend(
    stream: TcpStream,
    answer: Responder,
    has_asked: Arc<AtomicBool>,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let service = service_fn(move |request| {
        has_asked.store(true, Ordering::Relaxed);
        answer(&request).map(Ok::<_, Infallible>)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.wait)
        .max_buf_size(limits.header)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // The client is gone, so the result does not matter.
        _ = &mut connection => return,
        () = stop.cancelled() => {}
        () = sleep(limits.life) => {}
    }
    connection.as_mut().graceful_shutdown();
    timeout(limits.drain, connection).await.ok();
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(20);

    const PATIENT: ConnectionLimits = ConnectionLimits {
        connections: 4,
        header: 8192,
        wait: LONG,
        life: LONG,
        drain: SHORT,
    };

    async fn start(limits: ConnectionLimits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Responder =
            Arc::new(|_| std::future::ready(Response::new(Full::from("well\n"))).boxed());
        tokio::spawn(serve(listener, answer, limits, CancellationToken::new()));
        address
    }

    async fn connect(address: SocketAddr, text: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream
    }

    /// Reads until the server closes the connection.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut octets = Vec::new();
        // A connection that was closed with unread data is reset.
        stream.read_to_end(&mut octets).await.ok();
        String::from_utf8(octets).unwrap()
    }

    /// Sends a request on a connection that stays open.
    async fn ask(stream: &mut TcpStream) -> String {
        go_on(stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await
    }

    /// Sends the end of a header.
    async fn go_on(stream: &mut TcpStream, text: &[u8]) -> String {
        stream.write_all(text).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with("well\n") {
            let mut octets = [0; 1024];
            let count = stream.read(&mut octets).await.unwrap();
            assert_ne!(count, 0, "{answer}");
            answer.push_str(str::from_utf8(&octets[..count]).unwrap());
        }
        answer
    }

    #[tokio::test]
    async fn an_unfinished_header_and_an_idle_connection_are_closed_after_their_time() {
        let address = start(ConnectionLimits {
            wait: SHORT,
            ..PATIENT
        })
        .await;
        let mut unfinished = connect(address, b"GET / HTTP/1.1\r\nHost:").await;
        rest(&mut unfinished).await;
        let mut silent = connect(address, b"").await;
        assert_eq!(rest(&mut silent).await, "");
        let mut idle = connect(address, b"").await;
        ask(&mut idle).await;
        assert_eq!(rest(&mut idle).await, "");
    }

    #[tokio::test]
    async fn a_connection_that_is_never_idle_is_closed_after_its_lifetime() {
        let address = start(ConnectionLimits {
            life: SHORT,
            ..PATIENT
        })
        .await;
        let mut stream = connect(address, b"").await;
        ask(&mut stream).await;
        assert_eq!(rest(&mut stream).await, "");
    }

    #[tokio::test]
    async fn a_header_that_is_too_long_is_refused_before_it_is_complete() {
        let address = start(PATIENT).await;
        let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 16 * 1024]].concat();
        let mut stream = connect(address, &long).await;
        let answer = rest(&mut stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn at_the_limit_the_oldest_connection_without_a_complete_header_is_closed() {
        let address = start(PATIENT).await;
        let mut scraper = connect(address, b"").await;
        ask(&mut scraper).await;
        let mut unfinished = Vec::new();
        for _ in 0..PATIENT.connections {
            unfinished.push(connect(address, b"GET / HTTP/1.1\r\n").await);
        }
        rest(&mut unfinished[0]).await;
        let mut last = connect(address, b"").await;
        assert!(ask(&mut last).await.starts_with("HTTP/1.1 200 OK"));
        rest(&mut unfinished[1]).await;
        assert!(ask(&mut scraper).await.starts_with("HTTP/1.1 200 OK"));
        let answer = go_on(&mut unfinished[3], b"Host: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }

    #[tokio::test]
    async fn if_all_clients_have_sent_a_header_the_oldest_connection_is_closed() {
        let address = start(PATIENT).await;
        let mut asked = Vec::new();
        for _ in 0..PATIENT.connections {
            let mut stream = connect(address, b"").await;
            ask(&mut stream).await;
            asked.push(stream);
        }
        let mut new = connect(address, b"").await;
        ask(&mut new).await;
        assert_eq!(rest(&mut asked[0]).await, "");
        ask(&mut asked[1]).await;
    }
}
