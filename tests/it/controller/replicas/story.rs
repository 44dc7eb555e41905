//! The history of requests from the API server's audit log, independent of any controller.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use control_plane::{AuditEvent, ControlPlane, until};
use jiff::Timestamp;
use rig::PATIENCE;
use serde_json::Value;

/// The history of every request in the namespace `default`, by name.
pub(super) struct Story(pub(super) BTreeMap<String, Told>);

/// The history of one request.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// When its approval was stored.
    pub(super) approved: Option<Timestamp>,
    /// When a certificate was first stored.
    pub(super) published: Option<Timestamp>,
    /// All certificates that were ever stored.
    pub(super) certificates: BTreeSet<String>,
    /// Number of the controllers' status writes that were stored.
    pub(super) writes: usize,
    /// Number of the controllers' status writes that the API server refused with a conflict.
    pub(super) conflicts: usize,
}

impl Story {
    /// Waits until the log has a certificate for each request: the log has a write a moment after it is visible.
    pub(super) async fn of(names: &[String], plane: &ControlPlane) -> Result<Self> {
        until(
            "the audit log to have a certificate for every request",
            PATIENCE,
            async || {
                let story = Self::read(plane)?;
                let told = |name: &String| story.0.get(name)?.published;
                Ok(names
                    .iter()
                    .all(|name| told(name).is_some())
                    .then_some(story))
            },
        )
        .await
    }

    /// Reads the log as it is now.
    pub(super) fn read(plane: &ControlPlane) -> Result<Self> {
        let mut told = BTreeMap::<String, Told>::new();
        let log = plane.audit_log()?.writes();
        let log = log.on("certificaterequests.cert-manager.io");
        for event in log.subresource("status").iter() {
            let Some(object) = &event.object_ref else {
                continue;
            };
            if object.namespace == "default" {
                told.entry(object.name.clone()).or_default().hear(event)?;
            }
        }
        Ok(Self(told))
    }
}

impl Told {
    fn hear(&mut self, event: &AuditEvent) -> Result<()> {
        let ours = event.user.username == rig::CONTROLLER;
        let stored = event.code().is_some_and(|code| (200..300).contains(&code));
        self.writes += usize::from(ours && stored);
        self.conflicts += usize::from(ours && event.code() == Some(409));
        if !stored {
            return Ok(());
        }
        let at: Timestamp = event.stage_timestamp.parse()?;
        if !ours {
            self.approved.get_or_insert(at);
        }
        // The controllers ask for a response without the object, so take what they sent as what was stored.
        let sent = event.request_object.as_ref();
        let certificate = sent.and_then(|object| object.pointer("/status/certificate"));
        if let Some(certificate) = certificate.and_then(Value::as_str) {
            self.published.get_or_insert(at);
            self.certificates.insert(certificate.to_owned());
        }
        Ok(())
    }
}

/// Returns the time of the API server's clock: the time at which it answered a request made now.
pub(super) async fn time(plane: &ControlPlane) -> Result<Timestamp> {
    let asked = || -> Result<Vec<Timestamp>> {
        let log = plane.audit_log()?.by("admin").verb("get");
        let asked = log.on("namespaces").into_iter();
        let times = asked.map(|event| Ok(event.stage_timestamp.parse()?));
        times.collect()
    };
    let before = asked()?.len();
    plane.kubectl(&["get", "namespace", "default"]).await?;
    until(
        "the audit log to have the request for the time",
        PATIENCE,
        async || Ok(asked()?.get(before).copied()),
    )
    .await
}
