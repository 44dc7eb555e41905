//! The HTTP proxy between the controller and the API server, if there is one.

use std::{env, net::IpAddr};

use anyhow::ensure;
use http::{HeaderValue, Uri};
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::{BoxError, ServiceExt as _, util::BoxCloneSyncService};

/// Service that opens connections to the API server, through the proxy if there is one.
pub(super) type Connector = BoxCloneSyncService<Uri, TokioIo<TcpStream>, BoxError>;

/// A proxy that connects to the API server by HTTP CONNECT (RFC 9110, section 9.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    address: Uri,
    /// The value of Proxy-Authorization.
    auth: Option<HeaderValue>,
}

impl Proxy {
    /// Returns the proxy to the API server: the one in the kubeconfig, else the one in HTTPS_PROXY or ALL_PROXY. As with
    /// other clients of Kubernetes, the latter applies neither to the hosts in NO_PROXY nor to this machine.
    ///
    /// # Errors
    /// The proxy's scheme is not http.
    pub(super) fn of(config: &kube::Config) -> anyhow::Result<Option<Self>> {
        let named = ["HTTPS_PROXY", "https_proxy"].map(|name| env::var(name).ok());
        let environment = Matcher::from_env();
        Self::choose(
            &config.cluster_url,
            config.proxy_url.as_ref(),
            &named,
            &environment,
        )
    }

    /// Chooses the proxy. kube sets `configured` to the proxy of the kubeconfig, else to that of the environment.
    fn choose(
        server: &Uri,
        configured: Option<&Uri>,
        of_environment: &[Option<String>],
        environment: &Matcher,
    ) -> anyhow::Result<Option<Self>> {
        let is_of_environment = |proxy: &Uri| {
            let mut named = of_environment.iter().flatten();
            named.any(|named| named.parse().is_ok_and(|named: Uri| named == *proxy))
        };
        let intercept = match configured {
            Some(proxy) if !is_of_environment(proxy) => {
                let always = Matcher::builder().all(proxy.to_string()).build();
                always.intercept(server)
            }
            Some(_) | None if is_this_machine(server) => None,
            Some(_) | None => environment.intercept(server),
        };
        let Some(intercept) = intercept else {
            return Ok(None);
        };
        let proxy = Self {
            address: intercept.uri().clone(),
            auth: intercept.basic_auth().cloned(),
        };
        ensure!(
            proxy.address.scheme_str() == Some("http"),
            "the proxy {} to the API server cannot be used: only proxies with http:// are supported",
            proxy.place()
        );
        Ok(Some(proxy))
    }

    /// Returns host and port, without the credentials.
    pub(super) fn place(&self) -> String {
        let host = self.address.host().unwrap_or_default();
        match self.address.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Returns a connector that uses `tcp`, through `proxy` if there is one.
    pub(super) fn connector(proxy: Option<Self>, tcp: HttpConnector) -> Connector {
        let Some(Self { address, auth }) = proxy else {
            return BoxCloneSyncService::new(tcp.map_err(Into::into));
        };
        let tunnel = Tunnel::new(address, tcp);
        let tunnel = match auth {
            Some(auth) => tunnel.with_auth(auth),
            None => tunnel,
        };
        BoxCloneSyncService::new(tunnel.map_err(Into::into))
    }
}

fn is_this_machine(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(server: &str, kubeconfig: Option<&str>, https: &str, no: &str) -> Option<String> {
        let environment = Matcher::builder()
            .https(https.to_owned())
            .no(no.to_owned())
            .build();
        // kube takes the proxy of the environment if the kubeconfig has none.
        let configured = kubeconfig.or(Some(https)).filter(|proxy| !proxy.is_empty());
        let configured = configured.map(|proxy| proxy.parse().unwrap());
        let proxy = Proxy::choose(
            &server.parse().unwrap(),
            configured.as_ref(),
            &[Some(https.to_owned())],
            &environment,
        );
        proxy.unwrap().map(|proxy| proxy.place())
    }

    #[test]
    fn a_proxy_applies_as_with_other_clients_of_kubernetes() {
        const SERVER: &str = "https://10.96.0.1:443";
        const PROXY: &str = "http://proxy:3128";
        for (server, kubeconfig, https, no, expected) in [
            (SERVER, None, "", "", None),
            (SERVER, None, PROXY, "", Some("proxy:3128")),
            (SERVER, None, PROXY, "10.96.0.0/12,.svc", None),
            (SERVER, None, PROXY, "10.97.0.0/16", Some("proxy:3128")),
            ("https://kubernetes.default.svc", None, PROXY, ".svc", None),
            ("https://127.0.0.1:6443", None, PROXY, "", None),
            ("https://[::1]:6443", None, PROXY, "", None),
            ("https://localhost:6443", None, PROXY, "", None),
            (SERVER, Some("http://own:8080"), "", "", Some("own:8080")),
            (
                SERVER,
                Some("http://own:8080"),
                PROXY,
                "*",
                Some("own:8080"),
            ),
        ] {
            let what = format!("{server} {kubeconfig:?} {https} {no}");
            let expected = expected.map(str::to_owned);
            assert_eq!(chosen(server, kubeconfig, https, no), expected, "{what}");
        }
    }

    #[test]
    fn a_proxy_of_another_scheme_is_refused_without_its_password() {
        let server: Uri = "https://10.96.0.1".parse().unwrap();
        let proxy: Uri = "socks5://user:secret@proxy:1080".parse().unwrap();
        let none = Matcher::builder().build();
        let refused = Proxy::choose(&server, Some(&proxy), &[], &none).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the proxy proxy:1080 to the API server cannot be used: only proxies with http:// are supported"
        );
    }
}
