//! API servers that cannot be used, and kubeconfigs of them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use anyhow::Result;
use serde_json::json;

use super::named_first;
use crate::doctor::{Reported, command};

/// Returns a kubeconfig of an API server whose version and clock are as old as these.
fn old_server(minor: &str, date: Option<&'static str>) -> Result<tempfile::TempDir> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = format!("http://{}", listener.local_addr()?);
    let body =
        json!({"major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.0")}).to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let date = date.map_or_else(String::new, |date| format!("date: {date}\r\n"));
            let head = format!(
                "HTTP/1.1 200 OK\r\n{date}content-length: {}\r\n\r\n",
                body.len()
            );
            // A client that has gone away needs no answer.
            let read = stream.read(&mut [0; 4096]);
            drop(read.and_then(|_| stream.write_all((head + &body).as_bytes())));
        }
    });
    kubeconfig(&server)
}

fn kubeconfig(server: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
    });
    fs::write(folder.path().join("kubeconfig"), config.to_string())?;
    Ok(folder)
}

/// Runs doctor with the kubeconfig in a folder.
fn with_kubeconfig(folder: &tempfile::TempDir) -> Result<Reported> {
    let mut command = command()?;
    command
        .arg("--kubeconfig")
        .arg(folder.path().join("kubeconfig"));
    command.args(["--only", "cluster"]);
    Reported::of(&mut command)
}

#[test]
fn an_api_server_that_cannot_be_used_is_named_first() -> Result<()> {
    named_first("cluster-config", &with_kubeconfig(&tempfile::tempdir()?)?)?;
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let nobody = kubeconfig(&format!("http://{free}"))?;
    let reported = with_kubeconfig(&nobody)?;
    named_first("cluster-reachable", &reported)?;
    assert_eq!(
        reported.finding("crds-installed")?["message"],
        "depends on cluster-reachable"
    );
    named_first(
        "cluster-version",
        &with_kubeconfig(&old_server("28", None)?)?,
    )?;
    let past = "Wed, 01 Jan 2020 00:00:00 GMT";
    named_first(
        "clock-agrees",
        &with_kubeconfig(&old_server("37", Some(past))?)?,
    )
}
