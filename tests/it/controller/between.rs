//! A proxy between the controller and the API server. It sees each object directly before and after a write of the
//! controller, can make another client write first, and can hold up a list after its first page.

mod fault;
mod gate;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use parking_lot::{Mutex, MutexGuard};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use control_plane::{ControlPlane, until};
use kube::{Client, config::KubeConfigOptions};
use rig::PATIENCE;
use serde_json::{Value, json};

use self::{fault::Fault, gate::Gate};

/// A write of the controller.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// HTTP status of the response.
    pub(super) code: u16,
    /// The object directly before the write, or null if there was none.
    pub(super) before: Value,
    /// The object directly after it.
    pub(super) after: Value,
}

impl Write {
    pub(super) fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// An edit by another client, made from the present object: a merge patch, a whole object that replaces it, or null, which
/// deletes it.
pub(super) type Edit = Box<dyn FnOnce(&Value) -> Value + Send>;

/// The edit and the writes of one object, found by its path.
#[derive(Default)]
struct Watched {
    /// The edit to make before the next write of the controller.
    edit: Option<Edit>,
    /// Why the edit failed.
    failed: Option<String>,
    writes: Vec<Write>,
}

#[derive(Default)]
struct All(Mutex<HashMap<String, Watched>>, Mutex<Busy>);

/// An API server that is overloaded.
#[derive(Default)]
struct Busy {
    /// The prefix of the paths whose requests it refuses.
    under: String,
    left: usize,
    answers: Vec<Answer>,
}

/// The response to a patch under the path given to [`Between::be_busy`].
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) path: String,
    /// HTTP status.
    pub(super) code: u16,
    pub(super) at: Instant,
}

impl All {
    fn busy(&self) -> MutexGuard<'_, Busy> {
        self.1.lock()
    }
}

/// The proxy between the controller and the API server. It lasts as long as the process.
pub(crate) struct Between {
    kubeconfig: PathBuf,
    all: Arc<All>,
    /// The gate that every page of a list passes except the first.
    pub(super) further_pages: Arc<Gate>,
    /// Faults of the API server and its clock.
    pub(crate) fault: Arc<Fault>,
}

impl Between {
    /// Starts a proxy that forwards requests to the API server with the identity of `kubeconfig`.
    pub(crate) fn start(plane: &ControlPlane, kubeconfig: &Path) -> Result<Self> {
        let all = Arc::new(All::default());
        let known = Arc::clone(&all);
        let further_pages = Arc::new(Gate::default());
        let gate = Arc::clone(&further_pages);
        let fault = Arc::new(Fault::default());
        let faulty = Arc::clone(&fault);
        let paths = [kubeconfig.to_owned(), plane.admin_kubeconfig()];
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let [controller, admin] = paths;
                let ways = Arc::new(Ways {
                    controller: client(&controller).await?,
                    admin: client(&admin).await?,
                    all: known,
                    further_pages: gate,
                    fault: faulty,
                });
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                tell.send(listener.local_addr()?)?;
                let router = Router::new().fallback(forward).with_state(ways);
                axum::serve(listener, router).await?;
                anyhow::Ok(())
            })
        });
        let address: SocketAddr = told.recv().context("the proxy did not start")?;
        let file = plane.log_dir().join("between.kubeconfig");
        let name = "between";
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "clusters": [{"name": name, "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": name, "user": {}}],
        });
        std::fs::write(&file, text.to_string())?;
        Ok(Self {
            kubeconfig: file,
            all,
            further_pages,
            fault,
        })
    }

    /// The kubeconfig to start the controller with.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Records the writes to the object at this path from now on. If there is an edit, it is made before the first write.
    pub(super) fn watch(&self, path: &str, edit: Option<Edit>) {
        let watched = Watched {
            edit,
            ..Watched::default()
        };
        self.all.0.lock().insert(path.to_owned(), watched);
    }

    /// Refuses the first patch of each of `left` objects under this path and asks for a pause of one second, as an
    /// overloaded API server does.
    pub(super) fn be_busy(&self, under: &str, left: usize) {
        *self.all.busy() = Busy {
            under: under.to_owned(),
            left,
            answers: Vec::new(),
        };
    }

    /// Returns the responses to the patches since [`Between::be_busy`], in their order.
    pub(super) fn answers(&self) -> Vec<Answer> {
        self.all.busy().answers.clone()
    }

    /// Waits until a write to a watched object succeeds and returns all writes so far.
    pub(super) async fn writes(&self, path: &str) -> Result<Vec<Write>> {
        self.until(path, |writes| writes.iter().any(Write::succeeded))
            .await
    }

    /// Waits for the first write to a watched object and returns it, whatever its response.
    pub(super) async fn tried(&self, path: &str) -> Result<Write> {
        let writes = self.until(path, |writes| !writes.is_empty()).await?;
        writes.into_iter().next().context("nothing was written")
    }

    async fn until(&self, path: &str, done: impl Fn(&[Write]) -> bool) -> Result<Vec<Write>> {
        until(&format!("a write to {path}"), PATIENCE, async || {
            let all = self.all.0.lock();
            let Watched { failed, writes, .. } =
                all.get(path).context("the object is not watched")?;
            ensure!(failed.is_none(), "{failed:?}");
            Ok(done(writes).then(|| writes.clone()))
        })
        .await
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

/// The clients with which the API server is called.
struct Ways {
    controller: Client,
    admin: Client,
    all: Arc<All>,
    further_pages: Arc<Gate>,
    fault: Arc<Fault>,
}

async fn forward(State(ways): State<Arc<Ways>>, request: Request) -> Response {
    match ways.forward(request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

impl Ways {
    async fn forward(&self, request: Request) -> Result<Response> {
        if let Some(code) = self.fault.code() {
            return Ok((code, "the API server has a fault").into_response());
        }
        let (mut parts, body) = request.into_parts();
        if parts
            .uri
            .query()
            .is_some_and(|query| query.contains("continue="))
        {
            self.further_pages.pass().await;
        }
        let body = to_bytes(body, usize::MAX).await?;
        let path = written(&parts, &body).filter(|path| self.all.0.lock().contains_key(path));
        let before = match &path {
            Some(path) => match self.come_first(path).await {
                Ok(before) => before,
                Err(error) => {
                    let failed = Some(format!("{error:#}"));
                    self.all.0.lock().entry(path.clone()).or_default().failed = failed;
                    return Err(error);
                }
            },
            None => Value::Null,
        };
        let busy = {
            let mut busy = self.all.busy();
            let meant = parts.method == Method::PATCH
                && !busy.under.is_empty()
                && parts.uri.path().starts_with(&busy.under);
            let path = parts.uri.path();
            let again = busy.answers.iter().any(|answer| answer.path == path);
            let turned_away = meant && busy.left > 0 && !again;
            busy.left -= usize::from(turned_away);
            meant.then(|| (parts.uri.path().to_owned(), turned_away))
        };
        if let Some((path, true)) = busy {
            let code = StatusCode::TOO_MANY_REQUESTS;
            self.answered(path, code.as_u16());
            let pause = [(header::RETRY_AFTER, "1")];
            return Ok((code, pause, "Too many requests, please try again later.").into_response());
        }
        parts.headers.remove(header::HOST);
        let request = http::Request::from_parts(parts, body.into());
        let mut response = self.controller.send(request).await?;
        if let Some((path, false)) = busy {
            self.answered(path, response.status().as_u16());
        }
        if let Some(path) = path {
            let write = Write {
                code: response.status().as_u16(),
                before,
                after: self.get(&path).await?,
            };
            let mut all = self.all.0.lock();
            all.entry(path).or_default().writes.push(write);
        }
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        self.fault.shift(response.headers_mut())?;
        let body = |body| self.fault.cut(Body::new(body));
        Ok(response.map(body))
    }

    fn answered(&self, path: String, code: u16) {
        let at = Instant::now();
        self.all.busy().answers.push(Answer { path, code, at });
    }

    /// Makes the edit that comes before the write, if there is one. Returns the object as the write finds it.
    async fn come_first(&self, path: &str) -> Result<Value> {
        let edit = self
            .all
            .0
            .lock()
            .get_mut(path)
            .and_then(|one| one.edit.take());
        let before = self.get(path).await?;
        let Some(edit) = edit else {
            return Ok(before);
        };
        let mut edit = edit(&before);
        let replaces = edit["kind"].is_string();
        if (replaces || edit.is_null()) && !before.is_null() {
            let delete = http::Request::delete(path).body(Vec::new())?;
            self.admin.request::<Value>(delete).await?;
        }
        if replaces {
            let (collection, _) = path.rsplit_once('/').context("no collection")?;
            self.ask(Method::POST, collection, "application/json", &edit)
                .await?;
        } else if !edit.is_null() {
            let merge = "application/merge-patch+json";
            let status = edit.as_object_mut().and_then(|edit| edit.remove("status"));
            self.ask(Method::PATCH, path, merge, &edit).await?;
            if let Some(status) = status {
                let (path, edit) = (format!("{path}/status"), json!({"status": status}));
                self.ask(Method::PATCH, &path, merge, &edit).await?;
            }
        }
        self.get(path).await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let request = http::Request::get(path).body(Vec::new())?;
        match self.admin.request(request).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Value::Null),
            other => Ok(other?),
        }
    }

    async fn ask(&self, method: Method, path: &str, kind: &str, body: &Value) -> Result<()> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, kind)
            .body(body.to_string().into_bytes())?;
        let answer: Value = self.admin.request(request).await?;
        ensure!(answer["metadata"]["uid"].is_string(), "{answer}");
        Ok(())
    }
}

/// Returns the path of the object that a request writes to.
fn written(parts: &Parts, body: &Bytes) -> Option<String> {
    let path = parts.uri.path();
    if parts.method == Method::POST {
        let object: Value = serde_json::from_slice(body).ok()?;
        return Some(format!("{path}/{}", object["metadata"]["name"].as_str()?));
    }
    let writes = [Method::PUT, Method::PATCH].contains(&parts.method);
    writes.then(|| path.strip_suffix("/status").unwrap_or(path).to_owned())
}
