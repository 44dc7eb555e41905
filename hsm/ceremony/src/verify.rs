//! Verifies a finished ceremony without its token: approvals, outputs and transcript must tell one story.

use std::collections::BTreeMap;

use pkcs11_issuer::audit::verify::Verifier;
use serde_json::Value;

use crate::{
    approvals::Stage,
    ceremony::{Approved, Ceremony, Failure, PLAN_B, attestation},
    hash::Hash,
    plan::What,
    prepared::SigningStep,
    transcript::{FILE, verifier_key},
};

/// What a verification has found to be true.
pub(crate) struct Verified {
    pub(crate) plan_b: Hash,
    pub(crate) approved_a: Approved,
    pub(crate) approved_b: Approved,
    /// What was signed, with the SHA-256 of its DER, and attestations, with that of the file.
    pub(crate) outputs: Vec<(String, Hash)>,
    /// SHA-256 of each public key, by step.
    pub(crate) keys: BTreeMap<String, Hash>,
    /// The lines of the transcript.
    pub(crate) lines: Vec<Value>,
}

impl Ceremony {
    /// Verifies the whole folder.
    pub(crate) fn verify(&self) -> Result<Verified, Failure> {
        let approved_a = self.approved(Stage::A, &self.plan.hash)?;
        approved_a.demand(Stage::A)?;
        let (steps, text) = self
            .plan_b()?
            .ok_or("the ceremony is not finished: public keys or attestations are missing")?;
        let plan_b = Hash::of(text.as_bytes());
        if self.folder.read(PLAN_B)?.as_deref() != Some(text.as_bytes()) {
            return Err(
                format!("{PLAN_B} does not follow from the plan and the public keys").into(),
            );
        }
        let approved_b = self.approved(Stage::B, &plan_b)?;
        approved_b.demand(Stage::B)?;
        let lines = self.transcript(&plan_b)?;
        let mut outputs = Vec::new();
        for SigningStep { name, prepared, .. } in &steps {
            let file = format!("{name}.{}", prepared.output().0);
            let pem = self
                .folder
                .read(&file)?
                .ok_or_else(|| format!("{file} is missing"))?;
            let der = prepared
                .check(&pem)
                .map_err(|error| format!("{file}: {error}"))?;
            let hash = Hash::of(&der);
            tells(&lines, "signed", name, "sha256", &hash)?;
            outputs.push((file, hash));
        }
        let mut keys = BTreeMap::new();
        for (name, key) in self.keys()? {
            let hash = Hash::of(key.spki_der());
            let tells = |event| tells(&lines, event, &name, "spkiSha256", &hash);
            tells("key-generated")
                .or_else(|_| tells("key-adopted"))
                .or_else(|_| tells("ca-found"))?;
            keys.insert(name, hash);
        }
        for (name, hash) in self.attestations()? {
            let file = attestation(name);
            let hash = hash.ok_or_else(|| format!("{file} is missing"))?;
            tells(&lines, "attested", name, "sha256", &hash)?;
            outputs.push((file, hash));
        }
        for step in &self.plan.steps {
            if let What::Import { certificate, .. } = &step.what {
                let file = format!("{certificate}.pem");
                let found = outputs.iter().find(|(output, _)| *output == file);
                let (_, hash) = found.ok_or_else(|| format!("{file} is missing"))?;
                // A run that was killed between the token's answer and its line finds the certificate on the token later.
                tells(&lines, "importing", &step.name, "sha256", hash)?;
            }
        }
        Ok(Verified {
            plan_b,
            approved_a,
            approved_b,
            outputs,
            keys,
            lines,
        })
    }

    /// Verifies the transcript: the signed checkpoint of the last run covers all its lines, and its second line has the hash of
    /// everything before it.
    fn transcript(&self, plan_b: &Hash) -> Result<Vec<Value>, Failure> {
        let octets = self
            .folder
            .read(FILE)?
            .ok_or_else(|| format!("{FILE} is missing"))?;
        let wrong = |why: &str| -> Failure { format!("{FILE}: {why}").into() };
        let (audit, _) = self.plan.audit_key().ok_or("the plan has no audit key")?;
        let keys = self.keys()?;
        let key = keys.get(audit).ok_or("the audit key is missing")?;
        let verifier_key = verifier_key(&self.plan, key)?;
        let last = last_run(&octets).ok_or_else(|| wrong("its last run has no beginning"))?;
        let (before, run) = octets
            .split_at_checked(last)
            .ok_or_else(|| wrong("lines before its last run are missing"))?;
        let mut verifier = Verifier::trusting([verifier_key]);
        verifier.read(FILE, run)?;
        let report = verifier.finish();
        if let Some(fault) = report.faults.first() {
            return Err(wrong(&fault.to_string()));
        }
        let [run_report] = report.runs.as_slice() else {
            return Err(wrong("its last run is mixed with another"));
        };
        if report.foreign > 0
            || !report.torn.is_empty()
            || !report.gaps.is_empty()
            || run_report.first != 0
        {
            return Err(wrong("lines of its last run are missing or foreign"));
        }
        let proof = run_report.lines;
        if proof.proven == 0 || proof.agreeing + proof.unproven > 0 {
            return Err(wrong(
                "the audit key has not signed all lines of its last run",
            ));
        }
        let of_run = parsed(run);
        let continued = of_run
            .iter()
            .find(|line| line["event"] == "ceremony-continued")
            .ok_or_else(|| wrong("its last run does not say what was before it"))?;
        if continued["beforeSha256"] != Hash::of(before).hex()
            || continued["beforeOctets"].as_str() != Some(&before.len().to_string())
        {
            return Err(wrong("the lines before its last run were changed"));
        }
        if continued["planSha256"] != self.plan.hash.hex() {
            return Err(wrong("it is of another plan"));
        }
        let finished = of_run
            .iter()
            .any(|line| line["event"] == "finished" && line["planBSha256"] == plan_b.hex());
        if !finished {
            return Err(wrong("its last run did not finish; run `execute` again"));
        }
        Ok(parsed(&octets))
    }
}

/// Returns the lines that are whole. A killed run may have left half a line, which the next run's hash covers.
fn parsed(octets: &[u8]) -> Vec<Value> {
    octets
        .split(|octet| *octet == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// Returns where the last run begins, as its own second line says.
fn last_run(octets: &[u8]) -> Option<usize> {
    let lines = parsed(octets);
    let continued = lines
        .iter()
        .rev()
        .find(|line| line["event"] == "ceremony-continued")?;
    continued["beforeOctets"].as_str()?.parse().ok()
}

/// Fails unless the transcript has a line of this event about a step with this hash.
fn tells(
    lines: &[Value],
    event: &str,
    step: &str,
    member: &str,
    hash: &Hash,
) -> Result<(), Failure> {
    let found = lines
        .iter()
        .any(|line| line["event"] == event && line["step"] == step && line[member] == hash.hex());
    if found {
        return Ok(());
    }
    Err(format!(
        "step {step:?}: {FILE} has no line {event:?} with {member} {}",
        hash.hex()
    )
    .into())
}
