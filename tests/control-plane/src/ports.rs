//! Finds free ports for servers that need a port number in advance.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

const ATTEMPTS: usize = 5;

/// Returns ports that were free a moment ago. They are all held until the last is found, so they differ.
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

/// Starts servers, and tries again on other ports if another process took a port after [`free_ports`] returned it.
pub(crate) async fn retry_on_taken_port<T, F: Future<Output = Result<T>>>(
    mut start: impl FnMut() -> F,
) -> Result<T> {
    let mut attempt = 1;
    loop {
        match start().await {
            // The message of Go's servers, in the log that the error quotes.
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
