//! The checks of `doctor`: stable ids, each explained in `docs/doctor.md`, and what a check found.

use serde::{Serialize, Serializer};

/// Declares the checks: their groups, variants, ids and cures, in the order of the report.
macro_rules! checks {
    ($($group:ident $name:literal { $($variant:ident $id:literal $cure:literal,)+ })+) => {
        /// A group of checks: a section of the page.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(in crate::cli) enum CheckGroup {
            $($group,)+
        }

        impl CheckGroup {
            /// Every group, in the order of the report.
            pub(in crate::cli) const ALL: &'static [Self] = &[$(Self::$group,)+];

            /// Its name, also the heading and the anchor on the page.
            pub(in crate::cli) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$group => $name,)+
                }
            }
        }

        /// A check. Its id never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(in crate::cli) enum CheckId {
            $($($variant,)+)+
        }

        impl CheckId {
            /// Every check, in the order of the report: what others depend on comes first.
            pub(in crate::cli) const ALL: &'static [Self] = &[$($(Self::$variant,)+)+];

            /// Its id.
            pub(in crate::cli) const fn as_str(self) -> &'static str {
                match self {
                    $($(Self::$variant => $id,)+)+
                }
            }

            /// What to do if it fails or warns, as on the page.
            pub(in crate::cli) const fn cure(self) -> &'static str {
                match self {
                    $($(Self::$variant => $cure,)+)+
                }
            }

            /// Its group.
            pub(in crate::cli) const fn group(self) -> CheckGroup {
                match self {
                    $($(Self::$variant => CheckGroup::$group,)+)+
                }
            }
        }
    };
}

checks! {
    Configuration "configuration" {
        ConfigReadable "config-readable" "Give the path of the file, and let this user read it.",
        ConfigValid "config-valid" "Correct the named place in the file.",
    }
    Library "library" {
        WorkerPresent "worker-present" "Install `pkcs11-hsm-worker` of this version beside this program, or give `--worker`.",
        SidecarReachable "sidecar-reachable" "Start the worker's container, and share the folder of the socket with this user.",
        LibraryPresent "library-present" "Install the vendor's library, or correct the path of the module.",
        LibraryArchitecture "library-architecture" "Install the vendor's library for this machine's architecture.",
        LibraryDependencies "library-dependencies" "Install the named library, or put its folder into `LD_LIBRARY_PATH` of the module's `env`.",
        LibraryGlibc "library-glibc" "Run the worker as a sidecar in an image with the named glibc or a newer one.",
        LibraryLoads "library-loads" "Give the path of the vendor's PKCS#11 library, and see its log.",
        LibraryInitializes "library-initializes" "Check the module's `env`, the library's own configuration and the connection to its device.",
        LibraryAnswers "library-answers" "Check the connection to the device; raise `hangAfter` of the token if the device is only slow.",
    }
    Token "token" {
        TokenPresent "token-present" "Connect the token, or correct its label, serial number or slot in the configuration.",
        TokenUnique "token-unique" "Name the token by its serial number, or by its slot if serial numbers are equal.",
        TokenInitialized "token-initialized" "Initialise the token, or name another one.",
        TokenSelfTest "token-self-test" "Reset the device as its manual says; ask the vendor if the self-test fails again.",
        TokenClock "token-clock" "Set the token's clock with the vendor's tool, or correct this machine's clock.",
        TokenSessions "token-sessions" "Lower `sessions` of the token below the limit that it reports.",
    }
    Pin "pin" {
        PinConfigured "pin-configured" "Add `pinFile`, `pinSecretRef` or `pinFrom` to the token in the configuration.",
        PinLocked "pin-locked" "Unlock the PIN as the security officer, then clear the PIN record.",
        PinFinalTry "pin-final-try" "Log in once by hand with the right PIN, then clear the PIN record.",
        PinToBeChanged "pin-to-be-changed" "Change the PIN with the vendor's tool, then update the configured PIN.",
        PinSet "pin-set" "Set the user PIN with the vendor's tool.",
        PinCountLow "pin-count-low" "Find out who gives a wrong PIN, then log in once with the right one.",
        PinReadable "pin-readable" "Write the PIN into the configured file, and let this user read it.",
        PinRecord "pin-record" "Check the PIN and the token, then mend the record or remove it.",
        PinAccepted "pin-accepted" "Provide the right PIN; if the rejected one is right now, clear the PIN record.",
        Login "login" "Provide the right PIN, and see to the token.",
    }
    Issuer "issuer" {
        IssuerValid "issuer-valid" "Correct the named field of the issuer.",
        IssuerToken "issuer-token" "Name a token of the configuration in `spec.token`.",
        IssuerGranted "issuer-granted" "Ask the operator for a grant of the token that covers the issuer.",
        CertificatePresent "certificate-present" "Give the issuer exactly one certificate source that exists.",
        CertificateValid "certificate-valid" "Give the issuer a CA certificate in PEM whose key may sign certificates.",
        CertificateChain "certificate-chain" "Give the issuer every certificate from its own up to its root.",
        CertificateDates "certificate-dates" "Renew the named certificate, or correct this machine's clock.",
        RootPresent "root-present" "Add the root to the issuer's certificates.",
        SpecValid "spec-valid" "Correct the named field of the issuer's specification.",
        CrlSign "crl-sign" "Have the CA certificate renewed with the key usage cRLSign.",
        CertificateExpiry "certificate-expiry" "Renew the named certificate, or shorten the profile's default duration.",
    }
    Key "key" {
        KeyFound "key-found" "Generate the key, or correct `spec.key` or the keys of the grant.",
        KeyMatches "key-matches" "Give the issuer the certificate of this key, or name the key of the certificate.",
        KeyUnambiguous "key-unambiguous" "Name one key by label and idHex.",
        KeyUsable "key-usable" "Use a key of a supported type that signs without its own PIN entry.",
        CertificateGranted "certificate-granted" "Use a certificate that the grant lists, or ask the operator to list this one.",
        KeyProtected "key-protected" "Use a key that is sensitive and not extractable, or relax `keys` of the token.",
        ProfileGranted "profile-granted" "Narrow the issuer's profile to the limits of the grant, or ask the operator for wider ones.",
        KeyAlgorithm "key-algorithm" "Choose a signature algorithm that the key supports.",
        ProbeSignature "probe-signature" "See to the token: it found the key and did not sign with it as it should.",
    }
    Crl "crl" {
        CrlReachable "crl-reachable" "Publish the CRLs at `spec.crl.url`, reachable from here.",
        CrlOfIssuer "crl-of-issuer" "Publish at this URL the CRL that the controller serves for this CA.",
        CrlFresh "crl-fresh" "See why no newer CRL is signed or published: `status.crl` of the issuer and the alerts about CRLs.",
    }
    Network "network" {
        DnsResolves "dns-resolves" "Correct the host in the issuer, or add it to the DNS.",
        ProxyUsable "proxy-usable" "Use a proxy with an http:// URL, and list the API server in NO_PROXY if it is reached directly.",
    }
    Cluster "cluster" {
        ClusterConfig "cluster-config" "Correct the kubeconfig or its context, or give another one with `--kubeconfig`.",
        ClusterReachable "cluster-reachable" "Check the address and the proxy of the API server, and whether the credentials are still valid.",
        ClusterVersion "cluster-version" "Upgrade Kubernetes to 1.29 or newer.",
        ClockAgrees "clock-agrees" "Synchronise the clocks of this machine and of the API server (NTP).",
        CrdsInstalled "crds-installed" "Install them: `pkcs11-issuer crds`, piped into `kubectl apply -f -`.",
        CrdsCurrent "crds-current" "Install those of this version: `pkcs11-issuer crds`, piped into `kubectl apply -f -`.",
        CertManagerInstalled "cert-manager-installed" "Install cert-manager, unless only Kubernetes' own requests are to be answered.",
        CertManagerVersion "cert-manager-version" "Upgrade cert-manager to a version that serves cert-manager.io/v1.",
    }
    Installation "installation" {
        ServiceAccountPresent "service-account-present" "Install the chart, or name the account with `--namespace` and `--service-account`.",
        ControllerRights "controller-rights" "Install the chart's roles with the values of what runs, or add the named right.",
        ApproverRights "approver-rights" "Install the chart with `approver.enabled`, or have another approver approve.",
        BlanketApprover "blanket-approver" "Name signers in the approver's role, with `approveSignerNames` of cert-manager's chart.",
        PinStatePresent "pin-state-present" "Create it empty: `kubectl create secret generic pkcs11-issuer-pin-state`, in the controller's namespace.",
        WorkloadPresent "workload-present" "Install the chart, or name its namespace with `--namespace`.",
        WorkloadVersion "workload-version" "Use the doctor of the version that runs, or upgrade the chart.",
        WorkloadReady "workload-ready" "See why its pods are not ready: `kubectl describe pods`, `kubectl logs`.",
        IssuersReady "issuers-ready" "Do what the message says; `docs/issuers.md` explains each reason.",
    }
}

/// Where the page is.
const PAGE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/doctor.md");

impl CheckId {
    /// Returns the address of its section of the page.
    pub(in crate::cli) fn page(self) -> String {
        format!("{PAGE}#{}", self.group().as_str())
    }
}

impl Serialize for CheckId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum CheckState {
    /// Nothing to do.
    Ok,
    /// It works now, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be checked, or there is nothing to check.
    Skipped,
}

/// A check that failed, and why.
#[derive(Debug)]
pub(super) struct FailedCheck {
    pub(super) id: CheckId,
    pub(super) why: String,
}

impl FailedCheck {
    pub(super) fn new(id: CheckId, why: impl std::fmt::Display) -> Self {
        Self {
            id,
            why: why.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DOCTOR: &str = include_str!("../../../docs/doctor.md");

    #[test]
    fn the_page_explains_every_check_in_order_with_who_acts_and_the_cure() {
        let mut heading = "";
        let mut explained = Vec::new();
        for line in DOCTOR.lines() {
            if let Some(text) = line.strip_prefix("## ") {
                heading = text;
            }
            // Before the first heading is the table of the JSON object.
            if line.starts_with("| `") && !heading.is_empty() {
                let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
                let [id, meaning, who, cure] = cells[..] else {
                    panic!("{line}")
                };
                assert!(!meaning.is_empty() && !who.is_empty(), "{line}");
                explained.push((heading.to_lowercase(), id.trim_matches('`'), cure));
            }
        }
        let all = CheckId::ALL.iter();
        let expected: Vec<_> = all
            .map(|id| (id.group().as_str().to_owned(), id.as_str(), id.cure()))
            .collect();
        assert_eq!(explained, expected);
    }

    #[test]
    fn each_id_is_a_distinct_word_in_kebab_case_and_no_group_has_its_name() {
        let groups = CheckGroup::ALL.iter().map(|group| group.as_str());
        let ids = CheckId::ALL.iter().map(|id| id.as_str());
        let all: Vec<_> = groups.chain(ids).collect();
        let kebab = |word: &&str| {
            let fits = |c: char| c.is_ascii_lowercase() || c == '-';
            word.chars().all(fits) && !word.starts_with('-') && !word.ends_with('-')
        };
        assert!(all.iter().all(kebab), "{all:?}");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
