//! The number of PKCS#11 calls per signature, and signature lengths that a library may claim.

use std::num::NonZeroU16;

use hsm::{Fault, Hash, HsmError, Mechanism, Token, TokenSpec};
use softhsm_test_helpers::{FaultyModule, Function, KeyKind, Provider};

use crate::fixture::{Faulty, Gate, faulty_spec, selector, soon, token, verifies};

/// Returns the calls of every function so far, including those that ask for a length.
fn calls(module: &FaultyModule) -> Vec<(Function, u64)> {
    let each = Function::ALL.iter();
    each.map(|function| (*function, module.calls(*function).unwrap()))
        .collect()
}

/// Returns the calls of each function between two counts.
fn between(before: &[(Function, u64)], after: &[(Function, u64)]) -> Vec<(Function, u64)> {
    let pairs = before.iter().zip(after);
    pairs
        .map(|((function, before), (_, after))| (*function, after - before))
        .filter(|(_, calls)| *calls > 0)
        .collect()
}

const TWO: [(Function, u64); 2] = [(Function::C_SignInit, 1), (Function::C_Sign, 1)];

#[tokio::test]
async fn a_signature_is_two_calls_whatever_the_key() {
    let token = token("two calls");
    let mut kinds = vec![
        (KeyKind::P256, Mechanism::Ecdsa(Hash::Sha256), 32),
        (KeyKind::P384, Mechanism::Ecdsa(Hash::Sha384), 48),
        (KeyKind::P521, Mechanism::Ecdsa(Hash::Sha512), 64),
        (KeyKind::Rsa2048, Mechanism::RsaPkcs1(Hash::Sha256), 32),
        (KeyKind::Rsa2048, Mechanism::RsaPss(Hash::Sha256), 32),
        (KeyKind::Ed25519, Mechanism::Ed25519, 100),
    ];
    if token.store().provider() == Provider::Kryoptic {
        kinds.extend(
            [KeyKind::MlDsa44, KeyKind::MlDsa65, KeyKind::MlDsa87]
                .map(|kind| (kind, Mechanism::MlDsa, 100)),
        );
    }
    let module = token.with_faults().unwrap();
    let spec = TokenSpec {
        sessions: NonZeroU16::new(1),
        ..faulty_spec(&token, &module)
    };
    let hsm = Token::start(spec, Gate::new(token.user_pin()));
    for (id, (kind, mechanism, octets)) in (1..).zip(kinds) {
        let test_key = token.generate_key("ca", &[id], kind).unwrap();
        let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
        let before = calls(&module);
        let payload = vec![7; octets];
        hsm.sign(&key, mechanism, &payload, soon()).await.unwrap();
        assert_eq!(between(&before, &calls(&module)), TWO, "{kind:?}");
    }
}

#[tokio::test]
async fn a_library_that_wants_a_larger_buffer_gets_the_one_it_asks_for() {
    let test_key = token("larger")
        .generate_key("ca", &[1], KeyKind::P256)
        .unwrap();
    let faulty = Faulty::new(&test_key).await;
    // The library tells a plausible length, a length that is not larger, or an absurd one.
    for (wanted, asked) in [(72, 0), (64, 1), (0, 1), (u64::MAX, 1)] {
        let rule = format!("C_Sign too_small={wanted} count=1");
        faulty.rules(&rule);
        let before = calls(&faulty.module);
        let signature = faulty.sign().await.unwrap();
        assert!(verifies(&test_key, &signature), "{rule}");
        let mut expected = vec![(Function::C_SignInit, 1), (Function::C_Sign, 2)];
        if asked > 0 {
            expected.push((Function::C_Sign_length, asked));
        }
        let mut made = between(&before, &calls(&faulty.module));
        // A session looks the key up before its first signature.
        made.retain(|(function, _)| {
            matches!(
                function,
                Function::C_SignInit | Function::C_Sign | Function::C_Sign_length
            )
        });
        assert_eq!(made, expected, "{rule}");
    }
    let stats = faulty.hsm.stats(soon()).await.unwrap();
    assert_eq!(stats.sessions_discarded, 0);
    assert_eq!(faulty.logins(), 1);
}

#[tokio::test]
async fn a_library_that_wants_ever_larger_buffers_is_refused() {
    let test_key = token("largest")
        .generate_key("ca", &[1], KeyKind::P256)
        .unwrap();
    for rules in [
        "C_Sign too_small=72 count=2",
        "C_Sign too_small=0 count=2",
        "C_Sign too_small=0 count=1\nC_Sign_length rv=CKR_BUFFER_TOO_SMALL count=1",
    ] {
        let faulty = Faulty::new(&test_key).await;
        faulty.rules(rules);
        let error = faulty.sign().await.unwrap_err();
        assert!(matches!(error, HsmError::TokenRefused(_)), "{error:?}");
        assert!(
            error.to_string().contains("CKR_BUFFER_TOO_SMALL"),
            "{error}"
        );
        faulty.recovers(rules).await;
        let stats = faulty.hsm.stats(soon()).await.unwrap();
        assert_eq!(stats.sessions_discarded, 1, "{rules}");
        assert_eq!(faulty.logins(), 1, "{rules}");
    }
}

#[tokio::test]
async fn a_signature_of_another_length_than_the_keys_is_never_read() {
    let test_key = token("length")
        .generate_key("ca", &[1], KeyKind::P256)
        .unwrap();
    for told in [0, 1, 63, 65, 1 << 32, u64::MAX] {
        let rule = format!("C_Sign length={told} count=1");
        let faulty = Faulty::new(&test_key).await;
        faulty.rules(&rule);
        let error = faulty.sign().await.unwrap_err();
        let HsmError::TokenFailed(code) = &error else {
            panic!("{rule}: {error:?}")
        };
        assert_eq!(
            code.to_string(),
            format!("C_Sign returned CKR_OK with {told} octets")
        );
        assert_eq!(error.fault(), Fault::Passing, "{rule}");
        faulty.recovers(&rule).await;
        let stats = faulty.hsm.stats(soon()).await.unwrap();
        assert_eq!(stats.sessions_discarded, 1, "{rule}");
        assert_eq!(faulty.hsm.tally().starts, 1, "{rule}");
        assert_eq!(faulty.logins(), 1, "{rule}");
    }
}
