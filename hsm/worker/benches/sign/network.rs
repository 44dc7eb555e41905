//! A token that takes a millisecond for each call, so that a signature costs as much as its calls.

use std::{sync::Arc, time::Duration};

use bench::{Report, Row, median};
use hsm::{KeySelector, Token};
use softhsm_test_helpers::{FaultyModule, Function, KeyKind, TestToken};

use crate::{CASES, Case, Failed, Gate, Library, RUNS, bare, ours, ours::Release, soon, spec};

const EVERY_CALL: &str = "* delay_ms=1";

/// Compares P-256 through `hsm::Token` with the bare loop, in alternated runs.
pub(crate) async fn measure(
    report: &mut Report,
    token: &TestToken,
    sessions: u16,
    length: Duration,
) -> Result<(), Failed> {
    let is_p256 = |case: &&Case| case.kind == KeyKind::P256;
    let case = CASES.iter().find(is_p256).ok_or("no P-256")?;
    let module = token.with_faults()?;
    let library = Library {
        module: module.module().into(),
        env: module.env(),
    };
    let gate = Arc::new(Gate(token.user_pin().into()));
    let hsm = Token::start(spec(token, &library, sessions), gate);
    let selector = KeySelector {
        label: Some(case.label.into()),
        ..KeySelector::default()
    };
    let key = hsm.find_key(&selector, soon()).await?;
    // Every session has looked the key up before the measurement begins.
    ours::rate(&hsm, &key, case.mechanism, &Release::AsItIs, length / 10).await?;
    module.rules(EVERY_CALL)?;
    let (mut bare, mut through) = (Vec::new(), Vec::new());
    let (mut bare_calls, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let before = signing(&module)?;
        let (rate, _) = bare::rate(token, &library, case, sessions, length)?;
        bare_calls.push(calls_each(before, signing(&module)?)?);
        bare.push(rate);
        let before = signing(&module)?;
        through.push(ours::rate(&hsm, &key, case.mechanism, &Release::AsItIs, length).await?);
        calls.push(calls_each(before, signing(&module)?)?);
    }
    let row = |what: &str, unit, ours: &[f64], bare: &[f64]| {
        let name = format!("{}, 1 ms per call, {what}", case.name);
        Row::new(name, unit, median(ours)).beside(median(bare))
    };
    report.push(row("through hsm::Token", "signatures/s", &through, &bare));
    report.push(row("calls per signature", "", &calls, &bare_calls));
    hsm.shutdown().await;
    Ok(())
}

/// Returns the number of signing operations begun, and of all calls that belong to them.
fn signing(module: &FaultyModule) -> Result<(u64, u64), Failed> {
    let begun = module.calls(Function::C_SignInit)?;
    let more = [Function::C_Sign, Function::C_Sign_length];
    let mut calls = begun;
    for function in more {
        calls += module.calls(function)?;
    }
    Ok((begun, calls))
}

fn calls_each(before: (u64, u64), after: (u64, u64)) -> Result<f64, Failed> {
    let number = |count: u64| u32::try_from(count).map(f64::from);
    Ok(number(after.1 - before.1)? / number(after.0 - before.0)?)
}
