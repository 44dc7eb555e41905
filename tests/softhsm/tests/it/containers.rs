//! A token in a container, and outages of the container.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use softhsm_test_helpers::{
    KeyKind, NetworkHsm, Provider, Store, TestKey, TestToken,
    order::{Order, Task},
    program::program,
};
use tokio::net::UnixStream;

const MESSAGE: &[u8] = b"to be signed";

fn token_and_key() -> (TestToken, TestKey) {
    let store = Store::of(Provider::SoftHsm).unwrap();
    let token = store.make_token("contained").unwrap();
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    (token, key)
}

fn signs(hsm: &NetworkHsm, key: &TestKey) -> bool {
    let Ok(signature) = hsm.sign_message(key, MESSAGE) else {
        return false;
    };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_octets())
        .verify(MESSAGE, &signature)
        .unwrap();
    true
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_killed_network_hsm_signs_again_after_its_restart() {
    let (token, key) = token_and_key();
    let hsm = token.as_network_hsm().await.unwrap();
    assert!(signs(&hsm, &key));
    hsm.container().kill().await.unwrap();
    assert!(!signs(&hsm, &key));
    // The token itself is still available.
    assert!(key.sign_message(MESSAGE).is_ok());
    hsm.container().restart().await.unwrap();
    assert!(signs(&hsm, &key));
}

/// Starts a helper process that signs over the connection.
fn signing(hsm: &NetworkHsm, token: &TestToken, key: &TestKey) -> Child {
    let mut child = Command::new(program("softhsm-test-helpers", "softhsm-token-tool").unwrap())
        .env_clear()
        .envs(hsm.env())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let order = Order {
        module: hsm.module().into(),
        task: Task::Sign {
            serial: token.serial().into(),
            user_pin: token.user_pin().into(),
            label: key.label().into(),
            id: key.id().into(),
            kind: key.kind(),
            octets: vec![7; 32],
        },
    };
    let order = serde_json::to_vec(&order).unwrap();
    child.stdin.take().unwrap().write_all(&order).unwrap();
    child
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_paused_network_hsm_keeps_its_callers_waiting() {
    let (token, key) = token_and_key();
    let hsm = token.as_network_hsm().await.unwrap();
    hsm.container().pause().await.unwrap();
    let mut waiting = signing(&hsm, &token, &key);
    // No process in the container runs, so no answer can come, however late this check is.
    assert_eq!(waiting.try_wait().unwrap(), None);
    hsm.container().unpause().await.unwrap();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.stdout.starts_with(b"{\"Signed\":"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_killed_sidecar_listens_again_after_its_restart() {
    let (token, _key) = token_and_key();
    let sidecar = token.as_sidecar().await.unwrap();
    sidecar.kill().await.unwrap();
    assert!(UnixStream::connect(sidecar.socket()).await.is_err());
    sidecar.restart().await.unwrap();
    UnixStream::connect(sidecar.socket()).await.unwrap();
}

#[tokio::test]
async fn only_softhsm_is_in_the_image() {
    let token = Store::of(Provider::Kryoptic)
        .unwrap()
        .make_token("other")
        .unwrap();
    assert!(token.as_network_hsm().await.is_err());
}
