//! Ports for servers that have to be told theirs.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

const ATTEMPTS: usize = 5;

/// Ports that were free a moment ago. All are held until all are known, so they differ.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
        *port = listener.local_addr().context("read the free port")?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Starts servers again, on other ports, when somebody took one between [`free_ports`] and the server's own bind.
pub(crate) async fn retry_on_taken_port<T, F: Future<Output = Result<T>>>(
    mut start: impl FnMut() -> F,
) -> Result<T> {
    let mut attempt = 1;
    loop {
        match start().await {
            // As Go's servers say it, in the log that the error quotes.
            Err(error)
                if attempt < ATTEMPTS
                    && format!("{error:#}").contains("address already in use") =>
            {
                attempt += 1;
            }
            result => return result,
        }
    }
}
