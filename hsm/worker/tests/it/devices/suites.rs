//! The suites of keys and of signing, with each device in place of the token.

use std::{env, process::Command};

use softhsm_test_helpers::DEVICES;

/// Tests that do not hold for a device, each with the reason.
const NOT_FOR: &[(&str, &str, &str)] = &[
    (
        "nshield",
        "a_key_that_requires_its_pin_for_every_signature_is_refused_by_name",
        ALL_PUBLIC,
    ),
    (
        "nshield",
        "the_attributes_of_a_key_are_those_that_the_token_reports",
        ALL_PUBLIC,
    ),
    (
        "kmsp11",
        "a_key_that_requires_its_pin_for_every_signature_is_refused_by_name",
        ALL_PUBLIC,
    ),
    (
        "kmsp11",
        "the_attributes_of_a_key_are_those_that_the_token_reports",
        ALL_PUBLIC,
    ),
    (
        "kmsp11",
        "a_uri_selects_token_and_key",
        "the URI has the serial number of the token behind the device, and the device shows zeros",
    ),
    (
        "fips",
        "the_mechanisms_of_a_key_are_those_that_the_token_claims_for_its_type",
        "it hashes in the token",
    ),
    (
        "sparse",
        "the_mechanisms_of_a_key_are_those_that_the_token_claims_for_its_type",
        "it has no C_GetMechanismInfo",
    ),
    (
        "sparse",
        "random_octets_come_from_the_token",
        "it has no C_GenerateRandom",
    ),
];
const ALL_PUBLIC: &str = "it makes keys with CKA_PRIVATE, and nobody logs in to this device";

/// Runs the two suites in a process of their own, whose environment names the device.
fn run(device: &str) {
    let skipped = NOT_FOR.iter().filter(|(name, ..)| *name == device);
    let skip = skipped.flat_map(|(_, test, _)| ["--skip", test]);
    let suites = Command::new(env::current_exe().unwrap())
        .env("TEST_DEVICE", device)
        .args(["keys::", "signing::", "--test-threads", "2"])
        .args(skip)
        .output()
        .unwrap();
    assert!(
        suites.status.success(),
        "{device}: {}",
        String::from_utf8_lossy(&suites.stdout)
    );
}

#[test]
fn the_suites_of_keys_and_signing_pass_on_a_device_without_logins() {
    run("nshield");
}

mod soak {
    use super::*;

    #[test]
    #[ignore = "takes minutes: make soak"]
    fn the_suites_of_keys_and_signing_pass_on_every_device() {
        DEVICES.iter().for_each(|device| run(device.name));
    }

    #[test]
    #[ignore = "takes minutes: make soak"]
    fn the_tests_that_do_not_hold_for_a_device_fail_there() {
        for (device, test, reason) in NOT_FOR {
            let alone = Command::new(env::current_exe().unwrap())
                .env("TEST_DEVICE", device)
                .arg(test)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&alone.stdout);
            assert!(
                text.contains("running 1 test") && text.contains("test result: FAILED"),
                "{device}, {test}: is it still true that {reason}?\n{text}"
            );
        }
    }
}
