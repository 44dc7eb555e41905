//! The devices of the shim: each signs with every kind of key, survives a crash and a loss, and costs no needless login.

mod soak;
mod suites;

use std::sync::Arc;

use aws_lc_rs::{
    digest,
    signature::{self, UnparsedPublicKey, VerificationAlgorithm},
};
use hsm::{Hash, HsmError, Key, LoginOutcome, Mechanism, Token, TokenSelector, TokenSpec};
use softhsm_test_helpers::{
    DEVICES, Device, FaultyModule, Function, Kept, KeyKind, TestKey, TestToken,
};

use crate::fixture::{Gate, faulty_spec, ready, selector, soon, token, until};

const MESSAGE: &[u8] = b"to be signed";

/// A worker that serves a token behind the rules of a device.
struct Served {
    device: Device,
    module: FaultyModule,
    gate: Arc<Gate>,
    hsm: Token,
}

impl Served {
    /// Starts the worker. The token is selected by its label, because devices may share a serial number.
    fn start(device: Device, token: &TestToken) -> Self {
        let module = token.with_faults().unwrap();
        module.rules(device.rules).unwrap();
        let spec = TokenSpec {
            token: TokenSelector::by_label(token.label()),
            ..faulty_spec(token, &module)
        };
        let gate = Gate::new(token.user_pin());
        let hsm = Token::start(spec, Arc::<Gate>::clone(&gate));
        Self {
            device,
            module,
            gate,
            hsm,
        }
    }

    /// Puts faults before the rules of the device, so that they match first.
    fn faults(&self, rules: &str) {
        let rules = format!("{rules}\n{}", self.device.rules);
        self.module.rules(&rules).unwrap();
    }

    /// Asserts that there was one login for each worker that found the token, or none for a device that needs none.
    fn cost_no_needless_login(&self) {
        let tally = self.hsm.tally();
        let without_token = tally.ended.get("no-token").copied().unwrap_or_default();
        let logins = if self.device.logs_in {
            tally.starts - without_token
        } else {
            0
        };
        let name = self.device.name;
        assert_eq!(
            self.module.calls(Function::C_Login).unwrap(),
            logins,
            "{name}"
        );
        let accepted = vec![LoginOutcome::Accepted; usize::try_from(logins).unwrap()];
        assert_eq!(self.gate.outcomes(), accepted, "{name}");
    }
}

/// Kinds of keys, with a mechanism and a verifier of each.
const KINDS: [(KeyKind, Mechanism, &dyn VerificationAlgorithm); 4] = [
    (
        KeyKind::Rsa2048,
        Mechanism::RsaPkcs1(Hash::Sha256),
        &signature::RSA_PKCS1_2048_8192_SHA256,
    ),
    (
        KeyKind::Rsa2048,
        Mechanism::RsaPss(Hash::Sha256),
        &signature::RSA_PSS_2048_8192_SHA256,
    ),
    (
        KeyKind::P256,
        Mechanism::Ecdsa(Hash::Sha256),
        &signature::ECDSA_P256_SHA256_ASN1,
    ),
    (KeyKind::Ed25519, Mechanism::Ed25519, &signature::ED25519),
];

/// Returns one key for each of [`KINDS`], with ids from `first` on.
fn keys(token: &TestToken, first: u8, kept: Kept) -> Vec<TestKey> {
    let keys = (first..).zip(KINDS);
    keys.map(|(id, (kind, ..))| token.generate_key_kept("ca", &[id], kind, kept).unwrap())
        .collect()
}

async fn sign(hsm: &Token, key: &Key, mechanism: Mechanism) -> Result<Vec<u8>, HsmError> {
    let digest = digest::digest(&digest::SHA256, MESSAGE);
    hsm.sign_message(key, mechanism, digest.as_ref(), MESSAGE, soon())
        .await
}

fn verifies(key: &TestKey, algorithm: &'static dyn VerificationAlgorithm, octets: &[u8]) -> bool {
    UnparsedPublicKey::new(algorithm, key.public_octets())
        .verify(MESSAGE, octets)
        .is_ok()
}

#[tokio::test]
async fn every_device_signs_with_every_kind_of_key_and_after_a_crash_and_logs_in_only_if_it_must() {
    let token = token("devices");
    let (private, open) = (
        keys(&token, 1, Kept::PROTECTED),
        keys(&token, 11, Kept::WITHOUT_LOGIN),
    );
    for device in DEVICES {
        let name = device.name;
        let served = Served::start(*device, &token);
        until(&served.hsm, ready).await;
        let keys = if device.logs_in { &private } else { &open };
        for (test_key, (_, mechanism, verifier)) in keys.iter().zip(KINDS) {
            let key = served
                .hsm
                .find_key(&selector(test_key), soon())
                .await
                .unwrap();
            let signature = sign(&served.hsm, &key, mechanism).await.unwrap();
            assert!(
                verifies(test_key, verifier, &signature),
                "{name}: {mechanism:?}"
            );
            served.faults("C_Sign abort count=1");
            sign(&served.hsm, &key, mechanism).await.unwrap_err();
            served.faults("");
            let signature = sign(&served.hsm, &key, mechanism).await.unwrap();
            assert!(
                verifies(test_key, verifier, &signature),
                "{name}: {mechanism:?}"
            );
        }
        assert_eq!(
            served.hsm.tally().starts,
            1 + u64::try_from(keys.len()).unwrap(),
            "{name}"
        );
        served.cost_no_needless_login();
    }
}

#[tokio::test]
async fn a_token_without_a_random_generator_says_so() {
    let token = token("random");
    let sparse = DEVICES
        .iter()
        .find(|device| device.name == "sparse")
        .unwrap();
    let served = Served::start(*sparse, &token);
    let error = served.hsm.random(20, soon()).await.unwrap_err();
    let expected = "the token refuses: C_GenerateRandom returned CKR_FUNCTION_NOT_SUPPORTED";
    assert_eq!(error.to_string(), expected);
}
