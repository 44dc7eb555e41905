//! The listening socket: its file, the permissions of the file, and the replacement of a stale file.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, chown},
        net::{UnixListener as StdUnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, process::umask};
use thiserror::Error;
use tokio::net::UnixListener;
use tracing::warn;

/// Why the process cannot listen on the socket.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    #[error("{path}: another process listens on this socket")]
    InUse { path: PathBuf },
    #[error("{path} exists and is not a socket; remove it")]
    NoSocket { path: PathBuf },
    #[error("failed to listen on {path}: {source}")]
    Bind { path: PathBuf, source: io::Error },
    #[error("failed to give {path} to user {uid}: {source}")]
    Owner {
        path: PathBuf,
        uid: u32,
        source: io::Error,
    },
}

/// Listening socket whose file is removed on drop.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens on a file that only `owner` can open (mode 0600). Replaces a stale file of a process that has ended.
    pub(crate) fn bind(path: &Path, owner: u32) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Bind {
            path: path.into(),
            source,
        };
        let listener = match bind_private(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                bind_private(path)
            }
            result => result,
        };
        let listener = listener.map_err(failed)?;
        if owner != rustix::process::geteuid().as_raw() {
            chown(path, Some(owner), None).map_err(|source| SocketError::Owner {
                path: path.into(),
                uid: owner,
                source,
            })?;
        }
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            listener: UnixListener::from_std(listener).map_err(failed)?,
            path: path.into(),
        })
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(socket = %self.path.display(), %error, "failed to remove the socket");
        }
    }
}

/// Binds the socket. The umask gives the file its mode from the first moment; no other thread, which would share the
/// umask, runs yet.
fn bind_private(path: &Path) -> io::Result<StdUnixListener> {
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = StdUnixListener::bind(path);
    umask(before);
    listener
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Bind {
        path: path.into(),
        source,
    };
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NoSocket { path: path.into() });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse { path: path.into() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}
