//! Carries a plan out: keys after the approval of plan A, signatures after that of plan B. Every part that is done is found and
//! left alone, so the same command goes on after any interruption.

use std::path::Path;

use cryptoki::types::AuthPin;
use pkcs11_issuer::issuance::pem;

use crate::{
    approvals::Stage,
    ceremony::{Ceremony, Failure, PLAN_B, attestation},
    hash::Hash,
    plan::{KeyStep, SubjectKey, What},
    prepared::{Prepared, first_block},
    token::{CertificateParts, Halves, Token},
    transcript::{Transcript, verifier_key},
};

/// How far a run came.
pub(crate) enum Outcome {
    /// Every step is done.
    Finished,
    /// The keys exist, and plan B with this hash waits for approvals.
    WaitsForPlanB(Hash),
    /// The keys exist, and these files with the vendor's attestations are missing.
    WaitsForAttestations(Vec<String>),
}

impl Ceremony {
    /// Carries the plan out as far as it is approved.
    pub(crate) fn execute(
        &self,
        module: &Path,
        pin: impl FnOnce() -> std::io::Result<AuthPin>,
    ) -> Result<Outcome, Failure> {
        let approved = self.approved(Stage::A, &self.plan.hash)?;
        approved.demand(Stage::A)?;
        let token = Token::open(module, &self.plan.token, pin)?;
        self.folder.sweep()?;
        let transcript = Transcript::open(&self.folder, &self.plan)?;
        transcript.say(
            "plan-a-approved",
            &[
                ("approvers", &approved.names()),
                ("approversSha256", &self.approvers.hash.hex()),
                ("token", &token.description),
                ("tokenSerial", &self.plan.token.serial),
            ],
        )?;
        let done = self.steps(&token, &transcript);
        if let Err(error) = &done {
            transcript.say("failed", &[("error", &error.to_string())])?;
        }
        transcript.close()?;
        done
    }

    fn steps(&self, token: &Token, transcript: &Transcript) -> Result<Outcome, Failure> {
        let keys = self.make_keys(token, transcript)?;
        let (_, audit) = keys
            .iter()
            .find(|(name, _)| {
                self.plan
                    .audit_key()
                    .is_some_and(|(audit, _)| audit == *name)
            })
            .ok_or("the plan has no audit key")?;
        let attestations = self.attestations()?;
        let missing: Vec<_> = attestations
            .iter()
            .filter(|(_, hash)| hash.is_none())
            .collect();
        if !missing.is_empty() {
            transcript.say("attestations-wait", &[])?;
            transcript.sign(token, audit, &self.plan)?;
            let files = missing.into_iter().map(|(name, _)| attestation(name));
            return Ok(Outcome::WaitsForAttestations(files.collect()));
        }
        for (name, hash) in &attestations {
            let hash = hash.map(|hash| hash.hex()).unwrap_or_default();
            transcript.say("attested", &[("step", *name), ("sha256", &hash)])?;
        }
        let (steps, text) = self.plan_b()?.ok_or("keys are missing")?;
        self.folder.create(PLAN_B, text.as_bytes())?;
        let hash = Hash::of(text.as_bytes());
        let approved = self.approved(Stage::B, &hash)?;
        if !approved.suffices() {
            transcript.say("plan-b-waits", &[("planBSha256", &hash.hex())])?;
            transcript.sign(token, audit, &self.plan)?;
            return Ok(Outcome::WaitsForPlanB(hash));
        }
        transcript.say(
            "plan-b-approved",
            &[
                ("planBSha256", &hash.hex()),
                ("approvers", &approved.names()),
            ],
        )?;
        for step in steps {
            let (_, key) = keys
                .iter()
                .find(|(name, _)| *name == step.key)
                .ok_or("a key is missing")?;
            self.sign(step.name, key, step.prepared, token, transcript)?;
        }
        self.import_certificates(token, transcript)?;
        transcript.say("finished", &[("planBSha256", &hash.hex())])?;
        transcript.sign(token, audit, &self.plan)?;
        Ok(Outcome::Finished)
    }

    /// Makes the keys that are missing, after checking that all of them can be made, and that those of existing CAs are there.
    fn make_keys<'a>(
        &'a self,
        token: &Token,
        transcript: &Transcript,
    ) -> Result<Vec<(&'a str, Halves)>, Failure> {
        for (name, step) in self.plan.keys() {
            token.check_room_for(&self.plan.key_id(name), step)?;
        }
        let mut keys = Vec::new();
        for (name, ca) in self.plan.cas() {
            let halves = token.find_ca(name, ca)?;
            transcript.say(
                "ca-found",
                &[
                    ("step", name),
                    ("keyId", &hex::encode(&ca.key_id)),
                    ("attributes", &halves.facts.attributes),
                    (
                        "spkiSha256",
                        &Hash::of(halves.facts.public.spki_der()).hex(),
                    ),
                ],
            )?;
            keys.push((name, halves));
        }
        for (name, step) in self.plan.keys() {
            let halves = self.key(name, step, token, transcript)?;
            let spki = halves.facts.public.spki_der();
            let file = format!("{name}.pub.pem");
            self.folder
                .create(&file, pem::encode("PUBLIC KEY", spki).as_bytes())?;
            if step.audit {
                let verifier = verifier_key(&self.plan, &halves.facts.public)?;
                self.folder
                    .create("transcript.vkey", format!("{verifier}\n").as_bytes())?;
            }
            keys.push((name, halves));
        }
        Ok(keys)
    }

    fn key(
        &self,
        name: &str,
        step: &KeyStep,
        token: &Token,
        transcript: &Transcript,
    ) -> Result<Halves, Failure> {
        let id = self.plan.key_id(name);
        let known = self.folder.read(&format!("{name}.pub.pem"))?.is_some();
        let (event, halves) = match token.find(&id, step)? {
            // Its public half is compared with the file when the file is "created".
            Some(halves) if known => return Ok(halves),
            Some(_) if !token.certificates(&id)?.is_empty() => {
                return Err(format!(
                    "key {:?} exists already and has a certificate, so it is not of an interrupted run; find out whose it is",
                    step.label
                )
                .into());
            }
            Some(halves) => ("key-adopted", halves),
            None if known => {
                return Err(format!(
                    "key {:?} was made, and the token has it no longer; the ceremony cannot go on with this token",
                    step.label
                )
                .into());
            }
            None => {
                transcript.say(
                    "key-generating",
                    &[("step", name), ("keyId", &hex::encode(&id))],
                )?;
                ("key-generated", token.generate(&id, step)?)
            }
        };
        transcript.say(
            event,
            &[
                ("step", name),
                ("keyId", &hex::encode(&id)),
                ("algorithm", &halves.facts.public.algorithm().to_string()),
                ("attributes", &halves.facts.attributes),
                (
                    "spkiSha256",
                    &Hash::of(halves.facts.public.spki_der()).hex(),
                ),
            ],
        )?;
        Ok(halves)
    }

    /// Signs what was prepared, unless its output exists: then the output must be what was prepared.
    fn sign(
        &self,
        name: &str,
        key: &Halves,
        prepared: Prepared,
        token: &Token,
        transcript: &Transcript,
    ) -> Result<(), Failure> {
        let (ending, label) = prepared.output();
        let file = format!("{name}.{ending}");
        if let Some(text) = self.folder.read(&file)? {
            return prepared
                .check(&text)
                .map(|_| ())
                .map_err(|error| format!("{file}: {error}").into());
        }
        let tbs = Hash::of(prepared.bytes()).hex();
        transcript.say("signing", &[("step", name), ("tbsSha256", &tbs)])?;
        let signer = token.signer(key);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let der = match prepared {
            Prepared::Certificate(prepared) => runtime.block_on(prepared.issue(&signer))?,
            Prepared::Request(prepared) => runtime.block_on(prepared.issue(&signer))?,
            Prepared::Crl(prepared) => {
                let crl = runtime.block_on(prepared.issue(&signer))?;
                crl.der().to_vec()
            }
        };
        transcript.say(
            "signed",
            &[
                ("step", name),
                ("tbsSha256", &tbs),
                ("sha256", &Hash::of(&der).hex()),
            ],
        )?;
        self.folder
            .create(&file, pem::encode(label, &der).as_bytes())?;
        Ok(())
    }

    fn import_certificates(&self, token: &Token, transcript: &Transcript) -> Result<(), Failure> {
        for step in &self.plan.steps {
            let What::Import { certificate, label } = &step.what else {
                continue;
            };
            let planned = self
                .plan
                .certificate(certificate)
                .ok_or("the certificate is not in the plan")?;
            let text = self
                .folder
                .read(&format!("{certificate}.pem"))?
                .ok_or("the certificate does not exist")?;
            let der = first_block(&text)?;
            let SubjectKey::Step(key) = &planned.key else {
                return Err("the key of the certificate is not on the token".into());
            };
            let id = self.plan.key_id(key);
            let found = token.certificates(&id)?;
            if found == [der.clone()] {
                continue;
            }
            if !found.is_empty() {
                return Err(format!(
                    "step {:?}: the token has another certificate beside this key; delete it, or leave the step out of a new plan",
                    step.name
                )
                .into());
            }
            let issuer = match &planned.issuer {
                None => planned.subject.der(),
                Some(above) => self
                    .plan
                    .subject(above)
                    .ok_or("the CA above is not in the plan")?,
            };
            let serial = [[2, 16].as_slice(), planned.serial.octets()].concat();
            let parts = CertificateParts {
                subject: &planned.subject,
                issuer,
                serial: &serial,
            };
            transcript.say(
                "importing",
                &[("step", &step.name), ("sha256", &Hash::of(&der).hex())],
            )?;
            token.import(&id, label, &der, &parts)?;
            transcript.say(
                "imported",
                &[("step", &step.name), ("sha256", &Hash::of(&der).hex())],
            )?;
        }
        Ok(())
    }
}
