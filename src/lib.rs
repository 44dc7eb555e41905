//! The external issuer for cert-manager whose CA keys never leave an HSM.

pub mod issuance;
