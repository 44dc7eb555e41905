//! A token inside a container: as a network HSM, or beside its worker.
//!
//! The store is mounted into the container under its own path, so that keys can still be made from outside. The program
//! that serves the token can be paused, killed and restarted without any effect on the token. `tests/setup/docker`
//! prepares the engine and the image.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt,
    core::{AccessMode, Mount},
    runners::AsyncRunner,
};
use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};

use crate::{Error, Provider, TestKey, TestToken, program::program};

/// Path of SoftHSM's library in the image.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// Path of the worker in the image.
const WORKER: &str = "/usr/local/bin/pkcs11-hsm-worker";
const IMAGE: &str = "pkcs11-issuer-softhsm";
const TAG: &str = "test";
/// Time in which the program in the container must listen.
const PATIENCE: Duration = Duration::from_secs(30);

const CLIENTS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib64/pkcs11/p11-kit-client.so",
    "/usr/lib/pkcs11/p11-kit-client.so",
];

/// Running container that serves a token on a Unix socket. The container is removed on drop.
#[derive(Debug)]
pub struct TokenContainer {
    container: ContainerAsync<GenericImage>,
    socket: PathBuf,
}

impl TokenContainer {
    /// Describes a container in which a program sees the token as a process outside does.
    fn request(token: &TestToken, program: &str) -> Result<ContainerRequest<GenericImage>, Error> {
        if token.store().provider() != Provider::SoftHsm {
            return Err(Error::NotInImage);
        }
        let directory = token.store().directory();
        // The user who made the store owns the socket too.
        let owner = fs::metadata(directory).map_err(|source| Error::File {
            path: directory.into(),
            source,
        })?;
        let mut request = GenericImage::new(IMAGE, TAG)
            .with_entrypoint(program)
            .with_network("none")
            .with_user(format!("{}:{}", owner.uid(), owner.gid()))
            .with_mount(mount(directory, directory));
        for (variable, value) in token.env() {
            request = request.with_env_var(variable, value);
        }
        Ok(request)
    }

    /// Starts a container and waits until a program listens on the socket.
    async fn start(
        request: ContainerRequest<GenericImage>,
        socket: PathBuf,
    ) -> Result<Self, Error> {
        let container = request.start().await.map_err(Error::Container)?;
        let started = Self { container, socket };
        started.answers().await?;
        Ok(started)
    }

    /// Returns the path of the socket outside the container.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Suspends every process of the container: calls wait, as for a device that does not answer.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn pause(&self) -> Result<(), Error> {
        self.container.pause().await.map_err(Error::Container)
    }

    /// Resumes a paused container.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn unpause(&self) -> Result<(), Error> {
        self.container.unpause().await.map_err(Error::Container)
    }

    /// Kills every process of the container at once.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn kill(&self) -> Result<(), Error> {
        self.container
            .stop_with_timeout(Some(0))
            .await
            .map_err(Error::Container)
    }

    /// Starts a killed container again and waits until it listens.
    ///
    /// # Errors
    /// The engine refuses, or no program listens.
    pub async fn restart(&self) -> Result<(), Error> {
        self.container.start().await.map_err(Error::Container)?;
        self.answers().await
    }

    async fn answers(&self) -> Result<(), Error> {
        let connected = timeout(PATIENCE, async {
            while UnixStream::connect(&self.socket).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        });
        connected.await.map_err(|_| Error::File {
            path: self.socket.clone(),
            source: io::ErrorKind::TimedOut.into(),
        })
    }
}

/// Token behind a connection that can break: `p11-kit server` with SoftHSM in a container, and `p11-kit-client.so` for
/// the process outside, which finds the server by a variable in its environment.
///
/// ```ignore
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use softhsm_test_helpers::{KeyKind, Store};
///
/// let token = Store::new()?.make_token("far away")?;
/// let key = token.generate_key("ca", &[1], KeyKind::P256)?;
/// let hsm = token.as_network_hsm().await?;
/// assert!(hsm.sign_message(&key, b"message").is_ok());
/// hsm.container().kill().await?;
/// assert!(hsm.sign_message(&key, b"message").is_err());
/// hsm.container().restart().await?;
/// assert!(hsm.sign_message(&key, b"message").is_ok());
/// # Ok::<(), softhsm_test_helpers::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct NetworkHsm {
    container: TokenContainer,
    client: PathBuf,
}

impl TestToken {
    /// Serves the token as a network HSM. This does not affect its other users.
    ///
    /// # Errors
    /// There is no Docker engine, no image or no `p11-kit-client.so` (the variable `P11_KIT_CLIENT_MODULE` may name it),
    /// or the token is not SoftHSM's.
    pub async fn as_network_hsm(&self) -> Result<NetworkHsm, Error> {
        let named = env::var_os("P11_KIT_CLIENT_MODULE").map(PathBuf::from);
        let known = CLIENTS.iter().map(PathBuf::from);
        let client = named.into_iter().chain(known).find(|path| path.is_file());
        let client = client.ok_or(Error::NoP11Kit)?;
        let socket = self.store().directory().join("p11-kit.socket");
        // A killed server leaves its socket, and the next server does not replace it.
        let script =
            "rm -f \"$0\"; exec p11-kit server --foreground --name \"$0\" --provider \"$1\" \"$2\"";
        let uri = format!("pkcs11:serial={}", self.serial());
        let request = TokenContainer::request(self, "sh")?.with_cmd([
            "-c",
            script,
            &socket.to_string_lossy(),
            MODULE,
            &uri,
        ]);
        let container = TokenContainer::start(request, socket).await?;
        Ok(NetworkHsm { container, client })
    }

    /// Serves the token as a sidecar: a container with the token and its worker, which listens on the container's socket.
    ///
    /// ```ignore
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use softhsm_test_helpers::Store;
    ///
    /// let token = Store::new()?.make_token("beside")?;
    /// let sidecar = token.as_sidecar().await?;
    /// assert!(sidecar.socket().exists());
    /// # Ok::<(), softhsm_test_helpers::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// There is no Docker engine or no image, or the token is not SoftHSM's.
    pub async fn as_sidecar(&self) -> Result<TokenContainer, Error> {
        let socket = self.store().directory().join("worker.socket");
        let path = socket.to_string_lossy();
        // Mount the present worker over the image's: a test must not pass or fail because of an old program.
        let worker = program("pkcs11-hsm-worker", "pkcs11-hsm-worker")?;
        let request = TokenContainer::request(self, WORKER)?
            .with_mount(mount(&worker, Path::new(WORKER)).with_access_mode(AccessMode::ReadOnly))
            .with_cmd(["listen", "--module", MODULE, "--socket", &path]);
        TokenContainer::start(request, socket.clone()).await
    }
}

fn mount(here: &Path, there: &Path) -> Mount {
    Mount::bind_mount(here.to_string_lossy(), there.to_string_lossy())
}

impl NetworkHsm {
    /// Returns the library for a program under test.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.client
    }

    /// Returns the environment that a process needs to find the token.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        let address = format!("unix:path={}", self.container.socket.display());
        BTreeMap::from([("P11_KIT_SERVER_ADDRESS".into(), address)])
    }

    /// Returns the container, to pause, kill and restart it.
    #[must_use]
    pub fn container(&self) -> &TokenContainer {
        &self.container
    }

    /// Signs as [`TestKey::sign_message`], but over the connection, in a process of its own.
    ///
    /// # Errors
    /// The connection or the token fails.
    pub fn sign_message(&self, key: &TestKey, message: &[u8]) -> Result<Vec<u8>, Error> {
        key.sign_through(&self.client, &self.env(), message)
    }
}
