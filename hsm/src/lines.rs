//! Lines that a worker and its library write to standard error.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::unix::pipe::Receiver,
    task::JoinHandle,
    time::timeout,
};

/// Longest line, in octets. The rest of a longer line counts as further lines.
const LONGEST: u64 = 4096;
/// Longest wait for the last lines of an ended worker. A process that the library has started may keep the pipe open for
/// ever.
const LAST_LINES_WITHIN: Duration = Duration::from_millis(100);

/// Task that reads the lines of one worker until the pipe closes.
#[derive(Debug)]
pub struct WorkerLines(JoinHandle<()>);

impl WorkerLines {
    /// Hands every line to `log`, without white space at its end. Leaves out empty lines. Octets that are not
    /// UTF-8 are replaced.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn follow(stderr: Receiver, log: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(tokio::spawn(async move {
            if let Err(error) = read(stderr, &log).await {
                log(&format!("failed to read further lines: {error}"));
            }
        }))
    }

    /// Waits for the last lines of an ended worker, at most for a tenth of a second.
    pub async fn end(self) {
        drop(timeout(LAST_LINES_WITHIN, self.0).await);
    }
}

async fn read(stderr: Receiver, log: impl Fn(&str)) -> io::Result<()> {
    let mut lines = BufReader::new(stderr);
    let mut octets = Vec::new();
    loop {
        octets.clear();
        let mut line = (&mut lines).take(LONGEST);
        if line.read_until(b'\n', &mut octets).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&octets);
        let line = text.trim_end();
        if !line.is_empty() {
            log(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::mpsc};

    use super::*;

    #[tokio::test]
    async fn a_line_without_an_end_or_not_in_utf_8_or_of_any_length_is_handed_on() {
        let (reader, mut writer) = io::pipe().unwrap();
        let (sender, lines) = mpsc::channel();
        let reader = Receiver::from_owned_fd(reader.into()).unwrap();
        let log = move |line: &str| sender.send(line.to_owned()).unwrap();
        let followed = WorkerLines::follow(reader, log);
        writer.write_all(b"first \r\n\n\xff\n").unwrap();
        writer.write_all(&[b'a'; 5000]).unwrap();
        drop(writer);
        followed.0.await.unwrap();
        let lines: Vec<String> = lines.iter().collect();
        assert_eq!(lines[..2], ["first", "\u{fffd}"]);
        let long: Vec<_> = lines[2..].iter().map(String::len).collect();
        assert_eq!(long, [4096, 904]);
    }
}
