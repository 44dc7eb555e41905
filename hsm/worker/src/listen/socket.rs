//! The listening socket: its file, who may open it, and what is left of one that was not removed.

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

/// The socket cannot be had.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    #[error("{path}: another process listens there")]
    InUse { path: PathBuf },
    #[error("{path} exists and is no socket; remove it")]
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

/// A listening socket whose file is removed on drop.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens, with a file that only `owner` can open (mode 0600). A file that an ended process has left is
    /// replaced.
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
            eprintln!(
                "pkcs11-hsm-worker: failed to remove {}: {error}",
                self.path.display()
            );
        }
    }
}

/// The mode must be right from the first moment, hence by umask. Nothing else runs in this process yet.
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
