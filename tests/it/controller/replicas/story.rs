//! What the API server's audit log tells of requests, from outside of every controller.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use control_plane::{AuditEvent, ControlPlane, until};
use jiff::Timestamp;
use rig::PATIENCE;
use serde_json::Value;

/// Every request of the namespace `default`, by name.
pub(super) struct Story(pub(super) BTreeMap<String, Told>);

/// One request.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// When its approval was stored.
    pub(super) approved: Option<Timestamp>,
    /// When a certificate was stored, first.
    pub(super) published: Option<Timestamp>,
    /// The certificates that were ever stored.
    pub(super) certificates: BTreeSet<String>,
    /// Status writes of the controllers that were stored.
    pub(super) writes: usize,
    /// Status writes of the controllers that came too late: the API server refused them.
    pub(super) conflicts: usize,
}

impl Story {
    /// Waits until the log tells of a certificate for each: a write is recorded a moment after it can be seen.
    pub(super) async fn of(names: &[String], plane: &ControlPlane) -> Result<Self> {
        until("the audit log to tell of all", PATIENCE, async || {
            let story = Self::read(plane)?;
            let told = |name: &String| story.0.get(name)?.published;
            Ok(names
                .iter()
                .all(|name| told(name).is_some())
                .then_some(story))
        })
        .await
    }

    /// The log as it is now.
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
        // The controllers ask for an answer without the object; what a write stored is what was sent.
        let sent = event.request_object.as_ref();
        let certificate = sent.and_then(|object| object.pointer("/status/certificate"));
        if let Some(certificate) = certificate.and_then(Value::as_str) {
            self.published.get_or_insert(at);
            self.certificates.insert(certificate.to_owned());
        }
        Ok(())
    }
}

/// The API server's clock: when it answered what was asked of it just now.
pub(super) async fn time(plane: &ControlPlane) -> Result<Timestamp> {
    let asked = || -> Result<Vec<Timestamp>> {
        let log = plane.audit_log()?.by("admin").verb("get");
        let asked = log.on("namespaces").into_iter();
        let times = asked.map(|event| Ok(event.stage_timestamp.parse()?));
        times.collect()
    };
    let before = asked()?.len();
    plane.kubectl(&["get", "namespace", "default"]).await?;
    until("the audit log to tell the time", PATIENCE, async || {
        Ok(asked()?.get(before).copied())
    })
    .await
}
