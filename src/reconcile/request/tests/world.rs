//! A cluster in memory that stores one object and reports its changes.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::answers::{ready, signed, unreachable_server};
use crate::{
    api::{IssuerName, certificate_request::CertificateRequest},
    issuance::{Refusal, RefusalReason},
    metrics::RequestResult,
    pipeline::Signed,
    reconcile::{
        events::{EventReason, Notice},
        request::{
            ApplyError, Request, RequestError,
            apply::Applied,
            conclude::Delay,
            decide::{Facts, IssuerFact, Share, Time},
            due::DueRequest,
            kind::Status,
            observe::Observed,
            world::{Noted, SigningOutcome, World},
        },
    },
};

/// Output of the process: a signature, a status write or an entry of the issuance log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// The `Ready` condition that was stored: status and reason.
    Ready(&'static str, &'static str),
    Signed,
    Published,
    FoundPublished,
    Discarded(&'static str),
    Refused,
}

/// Report of the watch.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Applied(CertificateRequest),
    Deleted(CertificateRequest),
    /// The object can no longer be parsed.
    Garbled(ObjectMeta),
    /// An object that could no longer be parsed was deleted.
    GarbledDeleted(ObjectMeta),
}

type Interference = Box<dyn FnOnce(&InMemory)>;

/// Cluster in memory.
pub(super) struct InMemory {
    pub(super) stored: RefCell<Option<CertificateRequest>>,
    version: Cell<u64>,
    pub(super) told: RefCell<VecDeque<Told>>,
    writes: RefCell<Vec<Write>>,
    pub(super) now: Cell<Time>,
    issuer: Cell<IssuerFact>,
    own: Cell<bool>,
    max_pending: Cell<Option<Duration>>,
    undecided_after: Cell<Option<Duration>>,
    pub(super) events: RefCell<Vec<EventReason>>,
    attempts: Cell<u32>,
    reads: Cell<u32>,
    delays: Cell<u32>,
    refuses: Cell<bool>,
    /// Whether the issuance log takes lines.
    notes: Cell<bool>,
    failing: Cell<u32>,
    failed: Cell<u32>,
    loses_answer: Cell<bool>,
    before_store: RefCell<Option<Interference>>,
    after_signing: RefCell<Option<Interference>>,
}

impl InMemory {
    pub(super) fn new(object: CertificateRequest, now: Time) -> Self {
        Self {
            stored: RefCell::new(Some(object.clone())),
            version: Cell::new(1),
            told: RefCell::new(VecDeque::from([Told::Applied(object)])),
            writes: RefCell::default(),
            now: Cell::new(now),
            issuer: Cell::new(IssuerFact::Ready),
            own: Cell::new(true),
            max_pending: Cell::default(),
            undecided_after: Cell::default(),
            events: RefCell::default(),
            attempts: Cell::default(),
            reads: Cell::default(),
            delays: Cell::default(),
            refuses: Cell::default(),
            notes: Cell::new(true),
            failing: Cell::default(),
            failed: Cell::default(),
            loses_answer: Cell::default(),
            before_store: RefCell::default(),
            after_signing: RefCell::default(),
        }
    }

    pub(super) fn writes(&self) -> Vec<Write> {
        self.writes.borrow().clone()
    }

    pub(super) fn count(&self, write: Write) -> usize {
        self.writes
            .borrow()
            .iter()
            .filter(|one| **one == write)
            .count()
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts.get()
    }

    pub(super) fn stores_failed(&self) -> u32 {
        self.failed.get()
    }

    pub(super) fn issuer(&self, issuer: IssuerFact) {
        self.issuer.set(issuer);
    }

    pub(super) fn max_pending(&self, most: Duration) {
        self.max_pending.set(Some(most));
    }

    pub(super) fn undecided_after(&self, time: Duration) {
        self.undecided_after.set(Some(time));
    }

    /// Makes the next `attempts` attempts to sign fail.
    pub(super) fn delay(&self, attempts: u32) {
        self.delays.set(attempts);
    }

    pub(super) fn refuse(&self) {
        self.refuses.set(true);
    }

    /// Stores the request without its CSR.
    pub(super) fn drop_csr(&self) {
        self.change(|object| object.spec.request.0.clear());
    }

    /// Returns how often the object was read.
    pub(super) fn reads(&self) -> u32 {
        self.reads.get()
    }

    /// Fails if the request lacks the CSR that is stored.
    fn has_whole(&self, request: &CertificateRequest) {
        let stored = self.stored.borrow();
        let csr = stored.as_ref().map(|stored| &stored.spec.request);
        assert!(csr.is_none_or(|csr| *csr == request.spec.request));
    }

    /// Makes the sinks of the issuance log take lines or not.
    pub(super) fn note_lines(&self, notes: bool) {
        self.notes.set(notes);
    }

    pub(super) fn give_away(&self) {
        self.own.set(false);
    }

    /// Makes the next `count` writes fail.
    pub(super) fn fail_stores(&self, count: u32) {
        self.failing.set(count);
    }

    /// Loses the answer to the next write, which is stored.
    pub(super) fn lose_answer(&self) {
        self.loses_answer.set(true);
    }

    pub(super) fn before_store(&self, act: impl FnOnce(&Self) + 'static) {
        *self.before_store.borrow_mut() = Some(Box::new(act));
    }

    pub(super) fn after_signing(&self, act: impl FnOnce(&Self) + 'static) {
        *self.after_signing.borrow_mut() = Some(Box::new(act));
    }

    /// Changes the object without touching our fields.
    pub(super) fn touch(&self) {
        self.change(|_| {});
    }

    pub(super) fn decide_by_approver(&self, type_: &str) {
        self.set_condition(
            json!({"type": type_, "status": "True", "reason": "test", "message": ""}),
        );
    }

    pub(super) fn issued_by_another(&self) {
        self.set_condition(
            json!({"type": "Ready", "status": "True", "reason": "Issued", "message": ""}),
        );
    }

    pub(super) fn delete(&self) {
        let gone = self.stored.borrow_mut().take();
        self.told.borrow_mut().extend(gone.map(Told::Deleted));
    }

    /// Makes the object unparsable, then deletes it.
    pub(super) fn garble_and_delete(&self) {
        let metadata = self.stored.borrow_mut().take().unwrap().metadata;
        let told = [
            Told::Garbled(metadata.clone()),
            Told::GarbledDeleted(metadata),
        ];
        self.told.borrow_mut().extend(told);
    }

    /// Takes back the latest report, to be reported later.
    pub(super) fn keep_back(&self) -> Told {
        self.told.borrow_mut().pop_back().unwrap()
    }

    pub(super) fn tell_first(&self, told: Told) {
        self.told.borrow_mut().push_front(told);
    }

    fn set_condition(&self, condition: Value) {
        self.change(|object| {
            let status = object.status.get_or_insert_default();
            status
                .conditions
                .push(serde_json::from_value(condition).unwrap());
        });
    }

    fn change(&self, change: impl FnOnce(&mut CertificateRequest)) {
        let mut stored = self.stored.borrow_mut();
        let object = stored.as_mut().unwrap();
        self.version.set(self.version.get() + 1);
        object.metadata.resource_version = Some(self.version.get().to_string());
        change(object);
        self.told
            .borrow_mut()
            .push_back(Told::Applied(object.clone()));
    }

    fn wrote(&self, write: Write) {
        self.writes.borrow_mut().push(write);
    }
}

impl World<CertificateRequest> for InMemory {
    type Snapshot = ();

    fn time(&self) -> Time {
        self.now.get()
    }

    fn undecided_after(&self) -> Option<Duration> {
        self.undecided_after.get()
    }

    fn observe(&self, request: &CertificateRequest, unpublished: bool) -> Observed<()> {
        let issuer = self.issuer.get();
        let own = self.is_own(request, unpublished);
        Observed {
            issuer: request.issuer(),
            ready: (issuer == IssuerFact::Ready).then_some(()),
            version: None,
            selector: None,
            facts: Facts {
                ours: request.issuer().is_some(),
                stage: request.stage(true),
                issuer,
                max_pending: self.max_pending.get(),
                share: if own { Share::Own } else { Share::Others },
            },
        }
    }

    fn is_own(&self, _: &CertificateRequest, _: bool) -> bool {
        self.own.get()
    }

    async fn attempt(&self, due: &DueRequest<'_, CertificateRequest, ()>) -> SigningOutcome {
        self.has_whole(due.known.request);
        self.attempts.set(self.attempts.get() + 1);
        if self.refuses.get() {
            return SigningOutcome::Refused(Refusal::new(RefusalReason::BadSan, "a test"));
        }
        if let Some(left) = self.delays.get().checked_sub(1) {
            self.delays.set(left);
            return SigningOutcome::Delayed(Delay::Passing("a test".to_owned()));
        }
        self.wrote(Write::Signed);
        if let Some(act) = self.after_signing.take() {
            act(self);
        }
        SigningOutcome::Signed(signed())
    }

    async fn store(
        &self,
        request: &CertificateRequest,
        status: &Status,
    ) -> Result<Applied, ApplyError> {
        if let Some(act) = self.before_store.take() {
            act(self);
        }
        if let Some(left) = self.failing.get().checked_sub(1) {
            self.failing.set(left);
            self.failed.set(self.failed.get() + 1);
            return Err(unreachable_server());
        }
        match self.stored.borrow().as_ref() {
            None => return Ok(Applied::Gone),
            Some(stored)
                if stored.metadata.resource_version != request.metadata.resource_version =>
            {
                return Ok(Applied::Conflict);
            }
            Some(_) => {}
        }
        let status = serde_json::to_value(status).unwrap();
        self.change(|object| object.status = Some(serde_json::from_value(status).unwrap()));
        self.wrote(ready(self.stored.borrow().as_ref().unwrap()));
        match self.loses_answer.take() {
            true => Err(unreachable_server()),
            false => Ok(Applied::Written),
        }
    }

    async fn read(
        &self,
        _: &CertificateRequest,
    ) -> Result<Option<CertificateRequest>, RequestError> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.stored.borrow().clone())
    }

    fn await_issuer(&self, _: &IssuerName, _: &CertificateRequest) {}

    fn count(&self, _: &CertificateRequest, _: RequestResult) {}

    fn tell(&self, _: &CertificateRequest, notice: Notice) {
        self.events.borrow_mut().push(notice.reason());
    }

    fn can_note(&self) -> bool {
        self.notes.get()
    }

    async fn is_logged(&self, _: &Signed) -> bool {
        self.notes.get()
    }

    fn note(&self, noted: Noted<'_, CertificateRequest>) {
        self.wrote(match noted {
            Noted::Published(..) => Write::Published,
            Noted::FoundPublished(..) => Write::FoundPublished,
            Noted::Discarded(_, _, why) => Write::Discarded(why),
            Noted::Refused(request, ..) => {
                self.has_whole(request);
                Write::Refused
            }
        });
    }
}
