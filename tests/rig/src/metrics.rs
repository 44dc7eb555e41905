//! A snapshot of `/metrics`.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The text of `/metrics`.
#[derive(Clone, Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Fetches `/metrics` from a server.
    ///
    /// # Errors
    ///
    /// When it does not answer with 200.
    pub async fn fetch(address: &str) -> Result<Self> {
        let (status, text) = get(address, "/metrics").await?;
        ensure!(
            status == 200,
            "/metrics answered with status {status}: {text}"
        );
        Ok(Self(text))
    }

    /// Wraps the text of another program's `/metrics`.
    pub fn of(text: String) -> Self {
        Self(text)
    }

    /// Returns the whole text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Returns whether there is a sample with this name.
    pub fn has(&self, name: &str) -> bool {
        let mut names = self.0.lines().map(|line| line.split(['{', ' ']).next());
        names.any(|found| found == Some(name))
    }

    /// Returns the sum of all samples with this name, such as `pkcs11_issuer_requests_total`, and all of these labels. The
    /// sum of no samples is zero.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        let samples = self.0.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, labels) = series
                .split_once('{')
                .map_or((series, ""), |(name, labels)| {
                    (name, labels.trim_end_matches('}'))
                });
            let has = |label: &String| labels.split(',').any(|given| given == label);
            (found == name && wanted.iter().all(has)).then(|| value.parse::<f64>().ok())?
        });
        // Not `sum`, which returns -0.0 for an empty iterator.
        samples.fold(0.0, |sum, value| sum + value)
    }
}

/// Sends a GET and returns status and body. Uses HTTP/1.0, so that the response ends with the connection and has no chunks.
pub(crate) async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = asked
        .await
        .with_context(|| format!("get http://{address}{path}"))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the response has no end of its header")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((
        status.context("the response has no status")?,
        body.to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_with_the_labels_are_summed_and_the_others_left_out() {
        let metrics = Metrics(
            "# TYPE a counter\na_total{x=\"1\",y=\"p\"} 2\na_total{x=\"1\",y=\"q\"} 3\na_total{x=\"2\",y=\"p\"} 4\nb 5\n# EOF\n"
                .to_owned(),
        );
        assert_eq!(metrics.sum("a_total", &[]), 9.0);
        assert_eq!(metrics.sum("a_total", &[("x", "1")]), 5.0);
        assert_eq!(metrics.sum("a_total", &[("y", "p"), ("x", "2")]), 4.0);
        assert_eq!(metrics.sum("b", &[]), 5.0);
        assert_eq!(metrics.sum("b", &[("x", "1")]), 0.0);
    }
}
