//! The lines of the log, one method for each event.

use super::{
    CertificateEntry, IssuanceLog, LogError, LogPosition, LoggedIssuer, SignedHead, Subject,
    backlog::Need,
    fields::Fields,
    line::{of_certificate, of_subject},
};

/// Most heads in one leaf, so that it needs no continuation.
const HEADS_PER_LEAF: usize = 40;

/// Reason of *discarded* and *crl-discarded*: the process no longer waits for the signature, because it stops.
pub(crate) const ABANDONED: &str = "abandoned";

/// Facts about the operator's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// SHA-256 of the text, hexadecimal.
    pub sha256: String,
    /// Number of tokens.
    pub tokens: usize,
    /// Number of grants of all tokens.
    pub grants: usize,
}

impl IssuanceLog {
    /// Logs the OIDs of the extensions that the CSR has and the TBSCertificate lacks, then that the TBSCertificate is about
    /// to go to the token. The token must not be asked for a signature before [`accepted`](Self::accepted).
    ///
    /// # Errors
    /// As [`check`](Self::check); the line is not in the log.
    pub fn signing(
        &self,
        entry: &CertificateEntry,
        dropped: &[String],
    ) -> Result<LogPosition, LogError> {
        self.check()?;
        let need = self.essential();
        if !dropped.is_empty() {
            let extensions = Fields::default().with("extensions", dropped);
            self.append(need, "dropped-extension", &[&entry.0, &extensions]);
        }
        Ok(self.append(need, "signing", &[&entry.0]))
    }

    /// Logs that the token signed and that the signature verifies. The certificate must not be published before
    /// [`accepted`](Self::accepted).
    pub fn signed(&self, entry: &CertificateEntry, certificate: &[u8]) -> LogPosition {
        let certificate = of_certificate(certificate);
        self.append(self.essential(), "signed", &[&entry.0, &certificate])
    }

    /// Logs that the certificate is in the request's status.
    pub fn published(&self, entry: &CertificateEntry) {
        self.append(self.essential(), "published", &[&entry.0]);
    }

    /// Logs that a certificate with a *signing* line will never be published, for the reason that the slug names.
    pub fn discarded(&self, entry: &CertificateEntry, reason: &str) {
        let reason = Fields::default().with("reason", reason);
        self.append(self.essential(), "discarded", &[&entry.0, &reason]);
    }

    /// Logs that the request is refused for good, for the reason that the slug names. A refusal must not begin unless the log
    /// [`has_room`](Self::has_room).
    pub fn refused(&self, subject: &Subject<'_>, csr_sha256: Option<&str>, reason: &str) {
        let subject = of_subject(subject, csr_sha256);
        let reason = Fields::default().with("reason", reason);
        self.append(self.essential(), "refused", &[&subject, &reason]);
    }

    /// Logs a login to the token that has this name in the configuration. `rejected` is the code with which the token
    /// rejected the PIN; `None` if it accepted the PIN.
    pub fn login(&self, token: &str, rejected: Option<&str>) {
        let outcome = match rejected {
            None => "accepted",
            Some(_) => "rejected",
        };
        let fields = Fields::default()
            .with("token", token)
            .with("outcome", outcome)
            .with_some("code", rejected);
        self.append(Need::IfRoom, "login", &[&fields]);
    }

    /// Logs that an issuer can or cannot sign from now on, with the reason of its condition.
    pub fn issuer(&self, issuer: &LoggedIssuer<'_>, ready: bool, reason: &str) {
        let fields = Fields::default()
            .with("issuer", issuer)
            .with("reason", reason);
        let event = match ready {
            true => "issuer-ready",
            false => "issuer-not-ready",
        };
        self.append(Need::IfRoom, event, &[&fields]);
    }

    /// Logs a change in the life of an issuer's CA, as the replica that writes its status has found it: a word such as
    /// `switched-to-next`, and the CA and the SHA-256 of the issuing certificate that sign from now on, both hexadecimal.
    pub fn ca_changed(&self, issuer: &LoggedIssuer<'_>, change: &str, ca: &str, sha256: &str) {
        let fields = Fields::default()
            .with("issuer", issuer)
            .with("change", change)
            .with("ca", ca)
            .with("issuerCertificateSha256", sha256);
        self.append(Need::IfRoom, "ca-changed", &[&fields]);
    }

    /// Logs which configuration is in force from now on.
    pub fn configuration(&self, configuration: &Configuration) {
        let Configuration {
            sha256,
            tokens,
            grants,
        } = configuration;
        let fields = Fields::default()
            .with("sha256", sha256)
            .with("tokens", tokens)
            .with("grants", grants);
        self.append(Need::IfRoom, "configuration", &[&fields]);
    }

    /// Logs signed checkpoints of other runs.
    pub fn heads(&self, heads: &[SignedHead]) {
        for some in heads.chunks(HEADS_PER_LEAF) {
            let notes: Vec<&str> = some.iter().map(SignedHead::note).collect();
            let notes = Fields::default().with("heads", &notes);
            self.append(Need::Always, "heads", &[&notes]);
        }
    }
}
