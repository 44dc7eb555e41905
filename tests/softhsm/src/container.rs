//! A token inside a container: as a network HSM, or beside its worker.
//!
//! The store is mounted into the container under its own path, so keys are still made from outside, and what serves the
//! token can be paused, killed and started again without the token knowing. `tests/setup/docker` makes the engine and
//! the image ready.

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

/// Where the image has SoftHSM's library.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// Where it has the worker.
const WORKER: &str = "/usr/local/bin/pkcs11-hsm-worker";
const IMAGE: &str = "pkcs11-issuer-softhsm";
const TAG: &str = "test";
/// Until what is in the container answers.
const PATIENCE: Duration = Duration::from_secs(30);

const CLIENTS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib64/pkcs11/p11-kit-client.so",
    "/usr/lib/pkcs11/p11-kit-client.so",
];

/// A running container that serves a token on a Unix socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct TokenContainer {
    container: ContainerAsync<GenericImage>,
    socket: PathBuf,
}

impl TokenContainer {
    /// A container that sees the token as a process here does.
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

    /// Starts it, and waits until somebody listens on the socket.
    async fn start(
        request: ContainerRequest<GenericImage>,
        socket: PathBuf,
    ) -> Result<Self, Error> {
        let container = request.start().await.map_err(Error::Container)?;
        let started = Self { container, socket };
        started.answers().await?;
        Ok(started)
    }

    /// The socket, outside the container.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops every process of the container where it stands: calls wait, as they do for a device that does not answer.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn pause(&self) -> Result<(), Error> {
        self.container.pause().await.map_err(Error::Container)
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn unpause(&self) -> Result<(), Error> {
        self.container.unpause().await.map_err(Error::Container)
    }

    /// Ends every process of the container, without time to say good-bye.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn kill(&self) -> Result<(), Error> {
        self.container
            .stop_with_timeout(Some(0))
            .await
            .map_err(Error::Container)
    }

    /// Starts a killed container again; it answers when this returns.
    ///
    /// # Errors
    /// The engine refuses, or nothing answers.
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

/// A token behind a connection that can break: `p11-kit server` over SoftHSM in a container, and `p11-kit-client.so` for
/// the process outside, which finds it by the environment.
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
    /// The token as a network HSM. Its other users do not notice.
    ///
    /// # Errors
    /// There is no Docker engine, no image, no `p11-kit-client.so` (the variable `P11_KIT_CLIENT_MODULE` may name it),
    /// or the token is not SoftHSM's.
    pub async fn as_network_hsm(&self) -> Result<NetworkHsm, Error> {
        let named = env::var_os("P11_KIT_CLIENT_MODULE").map(PathBuf::from);
        let known = CLIENTS.iter().map(PathBuf::from);
        let client = named.into_iter().chain(known).find(|path| path.is_file());
        let client = client.ok_or(Error::NoP11Kit)?;
        let socket = self.store().directory().join("p11-kit.socket");
        // A killed server leaves its socket, and the next one will not take its place.
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

    /// The token beside its worker, which listens on the container's socket.
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
        // The worker of now, not of when the image was built: a test must not pass or fail by an old program.
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
    /// The library for a program under test.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.client
    }

    /// What a process must have in its environment to find the token.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        let address = format!("unix:path={}", self.container.socket.display());
        BTreeMap::from([("P11_KIT_SERVER_ADDRESS".into(), address)])
    }

    /// The container, to take the token away and give it back.
    #[must_use]
    pub fn container(&self) -> &TokenContainer {
        &self.container
    }

    /// [`TestKey::sign_message`] over the connection, in a process of its own.
    ///
    /// # Errors
    /// The connection or the token fails.
    pub fn sign_message(&self, key: &TestKey, message: &[u8]) -> Result<Vec<u8>, Error> {
        key.sign_through(&self.client, &self.env(), message)
    }
}
