//! Examines every token of a configuration: its library, the token, its PIN, and the key of the issuer that names it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use hsm::SeenSlot;

use super::{
    check::CheckId,
    findings::{Findings, after},
    issuer::{CONFIGURED, ExaminedIssuer, granted},
    key::{KEY, prove},
    library,
    pin::{OpenToken, PIN, TokenAccess, access},
    token::{OF_FLAGS, TOKEN, find, flags},
};
use crate::{
    cli::token::record::TokenRecord,
    config::{Config, Library, TokenConfig},
    metrics::Metrics,
    pipeline::ParsedChain,
    signers::{ReservedKey, launch},
};

/// What is examined, and with what.
pub(super) struct Examination<'a> {
    pub(super) config: &'a Config,
    /// The worker program, or why there is none.
    pub(super) worker: anyhow::Result<PathBuf>,
    pub(super) issuer: Option<&'a ExaminedIssuer>,
    pub(super) metrics: Arc<Metrics>,
}

impl Examination<'_> {
    /// Examines the tokens of one library after those of another. Returns what all tokens say about themselves.
    pub(super) async fn run(&self, findings: &mut Findings) -> Vec<TokenRecord> {
        if let Some(issuer) = self.issuer {
            let granted = granted(&issuer.given, self.config).map(drop);
            let told = format_args!("token {} and a grant of it", issuer.given.spec.token);
            let granted = findings.chain(&CONFIGURED, &issuer.subject, granted, told);
            match (&granted, &issuer.chain) {
                (Err(id), _) | (Ok(()), Err(id)) => findings.skip_rest(&KEY, after(*id)),
                (Ok(()), Ok(_)) => {}
            }
        }
        let mut libraries: BTreeMap<&Library, Vec<&TokenConfig>> = BTreeMap::new();
        for token in self.config.tokens() {
            let tokens = libraries.entry(&token.module().library).or_default();
            tokens.push(token);
        }
        let mut seen = Vec::new();
        for (library, tokens) in libraries {
            seen.extend(self.library(findings, library, &tokens).await);
        }
        seen
    }

    async fn library(
        &self,
        findings: &mut Findings,
        library: &Library,
        tokens: &[&TokenConfig],
    ) -> Vec<TokenRecord> {
        let hang_after: Option<Duration> = tokens.iter().map(|token| token.hang_after()).max();
        let module = tokens.first().map(|token| token.module().name.as_str());
        let subject = format!("module {}", module.unwrap_or_default());
        let found = library::tokens(library, &self.worker, hang_after.unwrap_or_default()).await;
        let place = launch(library, &PathBuf::new()).to_string();
        match findings.chain(library::checks(library), &subject, found, &place) {
            Ok(slots) => {
                for token in tokens {
                    self.token(findings, token, &slots).await;
                }
                let records = slots.iter().map(|slot| TokenRecord::of(&place, slot));
                records.collect()
            }
            Err(id) => {
                for token in tokens {
                    let subject = subject_of(token);
                    findings.skip_after(&TOKEN, &subject, id);
                    self.not_found(findings, token, id);
                }
                Vec::new()
            }
        }
    }

    async fn token(&self, findings: &mut Findings, token: &TokenConfig, slots: &[SeenSlot]) {
        let subject = subject_of(token);
        let (found, told) = match find(token, slots) {
            Ok(found) => {
                let told = format!(
                    "{} {}, serial number {:?}",
                    found.info.manufacturer, found.info.model, found.info.serial
                );
                (Ok(found), told)
            }
            Err(failed) => (Err(failed), String::new()),
        };
        let seen = match findings.chain(&TOKEN, &subject, found, told) {
            Ok(seen) => seen,
            Err(id) => return self.not_found(findings, token, id),
        };
        let usable = match flags(findings, &subject, token, &seen) {
            None => access(findings, &subject, token, &seen.info).await,
            Some(id) => {
                findings.skip_after(&PIN, &subject, id);
                Err(id)
            }
        };
        match usable {
            Ok(access) => self.open(findings, token, access).await,
            Err(id) => self.not_open(findings, token, id),
        }
    }

    /// Logs in, and has the token prove the key of the issuer.
    async fn open(&self, findings: &mut Findings, token: &TokenConfig, access: TokenAccess) {
        let provable = self.provable(token).filter(|_| findings.want(&KEY));
        if !findings.want(&[CheckId::Login]) && provable.is_none() {
            return;
        }
        let told = match access {
            TokenAccess::Public => "the token works without a login",
            TokenAccess::Accepted { .. } => "logged in with the PIN that was accepted before",
        };
        let worker = self
            .worker
            .as_ref()
            .map_or_else(|_| PathBuf::new(), Clone::clone);
        let reserved = Arc::new(ReservedKey::new(self.config.checkpoints()));
        let opened = OpenToken::open(token, &worker, access, &reserved, &self.metrics).await;
        match findings.chain(&[CheckId::Login], &subject_of(token), opened, told) {
            Ok(open) => {
                if let Some((issuer, chain)) = provable {
                    prove(findings, issuer, chain, &open, &self.metrics).await;
                }
                open.close().await;
            }
            Err(id) => self.without_key(findings, token, id),
        }
    }

    /// Skips what needs a token that was found.
    fn not_found(&self, findings: &mut Findings, token: &TokenConfig, needed: CheckId) {
        let subject = subject_of(token);
        findings.skip_after(&OF_FLAGS, &subject, needed);
        findings.skip_after(&PIN, &subject, needed);
        self.not_open(findings, token, needed);
    }

    /// Skips what needs a token that can be used.
    fn not_open(&self, findings: &mut Findings, token: &TokenConfig, needed: CheckId) {
        findings.skip_after(&[CheckId::Login], &subject_of(token), needed);
        self.without_key(findings, token, needed);
    }

    /// Skips the key of the issuer, if it is on this token.
    fn without_key(&self, findings: &mut Findings, token: &TokenConfig, needed: CheckId) {
        if self
            .issuer
            .is_some_and(|issuer| issuer.given.spec.token == token.name())
        {
            findings.skip_rest(&KEY, after(needed));
        }
    }

    /// Returns the issuer that names this token, with its certificates, if a grant covers it.
    fn provable(&self, token: &TokenConfig) -> Option<(&ExaminedIssuer, &Arc<ParsedChain>)> {
        let issuer = self.issuer?;
        let granted = granted(&issuer.given, self.config).ok()?;
        let chain = issuer.chain.as_ref().ok()?;
        (granted.name() == token.name()).then_some((issuer, chain))
    }
}

fn subject_of(token: &TokenConfig) -> String {
    format!("token {}", token.name())
}
