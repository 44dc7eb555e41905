//! The flags of `revoke-proof`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// Flags of `revoke-proof`.
#[derive(Debug, ClapArgs)]
pub struct RevokeProof {
    /// The certificate to revoke, in PEM; of a chain, the first one counts.
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,

    /// Its private key in PEM, not encrypted; - reads it from stdin.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  A proof for the certificate and the key of a pod, as a revocation:
    cat <<END | kubectl create --namespace shop -f -
    apiVersion: pkcs11-issuer.dev/v1alpha1
    kind: CertificateRevocation
    metadata: {generateName: web-}
    spec:
      issuerRef: {kind: PKCS11ClusterIssuer, name: issuing}
      reason: KeyCompromise
      proof: $(pkcs11-issuer revoke-proof --certificate tls.crt --key tls.key)
      certificate: |
    $(openssl x509 -in tls.crt | sed 's/^/    /')
    END
  With a key that is encrypted:
    openssl pkey -in tls.key | pkcs11-issuer revoke-proof --certificate tls.crt --key -
  The same proof without this program, for a P-256 or RSA key:
    (printf 'pkcs11-issuer revocation v1\\0'; openssl x509 -in tls.crt -outform DER | openssl dgst -sha256 -binary) \\
      | openssl dgst -sha256 -sign tls.key | base64 -w0

stdout has the proof: base64 of a signature by the certificate's key, over a fixed text and the certificate's SHA-256. It
proves to the controller that you hold the key of this one certificate, and is of no use for anything else. The program reads
files only, never a Secret, and talks to nobody.";
