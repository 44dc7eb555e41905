//! A request in a queue, beside a cluster in memory that keeps one object and tells of its changes.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::request;
use crate::{
    api::{IssuerName, certificate_request::CertificateRequest, tolerant::Tolerant},
    issuance::{Refusal, RefusalReason, testing::issued},
    metrics::RequestResult,
    pipeline::{Announced, Publish, Signed},
    reconcile::{
        Seat,
        attend::queue::Queue,
        events::Notice,
        request::{
            ApplyError, Memory, Request, RequestError, act_until_settled,
            apply::Applied,
            conclude::Delay,
            decide::{Facts, IssuerFact, Share, Time},
            due::Due,
            is_finished,
            kind::Status,
            observe::Observed,
            world::{Attempt, Noted, World},
        },
    },
};

type Object = Tolerant<CertificateRequest>;

/// What has left the process.
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

/// What the watch tells.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Applied(CertificateRequest),
    Deleted(CertificateRequest),
}

type Interference = Box<dyn FnOnce(&InMemory)>;

/// The cluster.
pub(super) struct InMemory {
    stored: RefCell<Option<CertificateRequest>>,
    version: Cell<u64>,
    told: RefCell<VecDeque<Told>>,
    writes: RefCell<Vec<Write>>,
    now: Cell<Time>,
    issuer: Cell<IssuerFact>,
    own: Cell<bool>,
    max_pending: Cell<Option<Duration>>,
    attempts: Cell<u32>,
    delays: Cell<u32>,
    refuses: Cell<bool>,
    failing: Cell<u32>,
    failed: Cell<u32>,
    loses_answer: Cell<bool>,
    before_store: RefCell<Option<Interference>>,
    after_signing: RefCell<Option<Interference>>,
}

/// A request's life.
pub(super) struct Life {
    queue: Queue<Object, Memory>,
    pub(super) world: InMemory,
}

impl Life {
    fn of(approval: Option<&str>) -> Self {
        let day = Timestamp::UNIX_EPOCH;
        let object = request(approval, day);
        let time = Time {
            day,
            steady: Instant::now(),
        };
        let world = InMemory {
            stored: RefCell::new(Some(object.clone())),
            version: Cell::new(1),
            told: RefCell::new(VecDeque::from([Told::Applied(object)])),
            writes: RefCell::default(),
            now: Cell::new(time),
            issuer: Cell::new(IssuerFact::Ready),
            own: Cell::new(true),
            max_pending: Cell::default(),
            attempts: Cell::default(),
            delays: Cell::default(),
            refuses: Cell::default(),
            failing: Cell::default(),
            failed: Cell::default(),
            loses_answer: Cell::default(),
            before_store: RefCell::default(),
            after_signing: RefCell::default(),
        };
        Self {
            queue: queue(),
            world,
        }
    }

    pub(super) fn of_new() -> Self {
        Self::of(None)
    }

    pub(super) fn of_approved() -> Self {
        Self::of(Some("Approved"))
    }

    /// Takes in what the watch tells, as `attend` does.
    pub(super) fn hears(&mut self) {
        loop {
            let next = self.world.told.borrow_mut().pop_front();
            match next {
                Some(Told::Applied(object)) if is_finished(&object) => {
                    self.queue.end(Tolerant(Ok(object)));
                }
                Some(Told::Applied(object)) => self.queue.put(Tolerant(Ok(object))),
                Some(Told::Deleted(object)) => self.queue.delete(&Tolerant(Ok(object))),
                None => return,
            }
        }
    }

    /// Looks at it as often as it is due.
    pub(super) fn looks(&mut self) {
        while let Some(due) = self.queue.next() {
            let mut memory = due.memory;
            let request = due.object.0.as_ref().unwrap();
            let next = if due.deleted {
                block_on(super::finish(
                    request,
                    &request.issuer().unwrap(),
                    &mut memory,
                    super::SUPERSEDED,
                    &self.world,
                ))
                .map(|()| super::Next::Ended)
            } else {
                block_on(act_until_settled(request, &mut memory, &self.world))
            };
            let now = self.world.now.get().steady;
            let next = next.unwrap_or_else(|_| memory.retry_call(due.waiting, now));
            self.queue.looked(&due.object, memory, next);
        }
    }

    /// Hears and looks until there is nothing more to hear.
    pub(super) fn goes_on(&mut self) {
        loop {
            self.hears();
            self.looks();
            if self.world.told.borrow().is_empty() {
                return;
            }
        }
    }

    /// Time passes.
    pub(super) fn passes(&mut self, time: Duration) {
        self.is_away(time);
        self.queue.call_until(self.world.now.get().steady);
        self.goes_on();
    }

    /// Time passes, and no process is there.
    pub(super) fn is_away(&mut self, time: Duration) {
        let Time { day, steady } = self.world.now.get();
        let day = day + SignedDuration::try_from(time).unwrap();
        let steady = steady + time;
        self.world.now.set(Time { day, steady });
    }

    /// Its issuer has changed.
    pub(super) fn is_called_anew(&mut self) {
        self.queue.call_anew(&"1".into());
        self.goes_on();
    }

    /// Another process, which lists what is stored.
    pub(super) fn restarts(&mut self) {
        self.queue = queue();
        let stored = self.world.stored.borrow().clone();
        self.world.told.borrow_mut().clear();
        let told = stored.map(Told::Applied);
        self.world.told.borrow_mut().extend(told);
        self.goes_on();
    }

    /// When it is looked at again although nothing changes.
    pub(super) fn next_call(&self) -> Option<Instant> {
        self.queue.next_call()
    }

    pub(super) fn keeps_nothing(&self) -> bool {
        self.queue.is_empty()
    }
}

fn queue() -> Queue<Object, Memory> {
    Queue::new(4, |_| Seat::default())
}

impl InMemory {
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

    /// So many attempts to sign do not work out.
    pub(super) fn delay(&self, attempts: u32) {
        self.delays.set(attempts);
    }

    pub(super) fn refuse(&self) {
        self.refuses.set(true);
    }

    pub(super) fn give_away(&self) {
        self.own.set(false);
    }

    /// So many writes are not taken.
    pub(super) fn fail_stores(&self, count: u32) {
        self.failing.set(count);
    }

    /// The next write is stored, and nobody hears of it.
    pub(super) fn lose_answer(&self) {
        self.loses_answer.set(true);
    }

    pub(super) fn before_store(&self, act: impl FnOnce(&Self) + 'static) {
        *self.before_store.borrow_mut() = Some(Box::new(act));
    }

    pub(super) fn after_signing(&self, act: impl FnOnce(&Self) + 'static) {
        *self.after_signing.borrow_mut() = Some(Box::new(act));
    }

    /// Somebody changes something that is not ours.
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

    /// What is to be told last is not told yet.
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

    fn observe(&self, request: &CertificateRequest, owed: bool) -> Observed<()> {
        let issuer = self.issuer.get();
        let own = self.is_own(request, owed);
        Observed {
            issuer: request.issuer(),
            ready: (issuer == IssuerFact::Ready).then_some(()),
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

    async fn attempt(&self, _: &Due<'_, CertificateRequest, ()>) -> Attempt {
        self.attempts.set(self.attempts.get() + 1);
        if self.refuses.get() {
            return Attempt::Refused(Refusal::new(RefusalReason::BadSan, "a test"));
        }
        if let Some(left) = self.delays.get().checked_sub(1) {
            self.delays.set(left);
            return Attempt::Delayed(Delay::Passing("a test".to_owned()));
        }
        self.wrote(Write::Signed);
        if let Some(act) = self.after_signing.take() {
            act(self);
        }
        Attempt::Signed(signed())
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
        Ok(self.stored.borrow().clone())
    }

    fn await_issuer(&self, _: &IssuerName, _: &CertificateRequest) {}

    fn count(&self, _: RequestResult) {}

    fn tell(&self, _: &CertificateRequest, _: Notice) {}

    fn note(&self, _: &CertificateRequest, _: &IssuerName, noted: Noted<'_>) {
        self.wrote(match noted {
            Noted::Published(_) => Write::Published,
            Noted::FoundPublished(_) => Write::FoundPublished,
            Noted::Discarded(_, why) => Write::Discarded(why),
            Noted::Refused(_) => Write::Refused,
        });
    }
}

fn ready(object: &CertificateRequest) -> Write {
    let reason = object
        .status
        .as_ref()
        .and_then(|status| status.ready_reason());
    match reason {
        Some("Issued") => Write::Ready("True", "Issued"),
        Some("Pending") => Write::Ready("False", "Pending"),
        Some("Failed") => Write::Ready("False", "Failed"),
        Some("Denied") => Write::Ready("False", "Denied"),
        other => panic!("{other:?}"),
    }
}

fn unreachable_server() -> ApplyError {
    ApplyError {
        kind: "CertificateRequest".to_owned(),
        name: "shop/web".to_owned(),
        source: Box::new(kube::Error::LinesCodecMaxLineLengthExceeded),
    }
}

fn signed() -> Signed {
    let certificate = issued();
    Signed {
        announced: Arc::new(Announced {
            token: "issuing".into(),
            key_id: vec![1],
            serial: certificate.serial_hex(),
            tbs_sha256: String::new(),
            not_after: Timestamp::UNIX_EPOCH,
            dropped_extensions: Vec::new(),
        }),
        certificate: Arc::new(certificate),
        publish: Publish {
            ca: crate::api::issuer::CaField::Root,
            append_root: false,
        },
    }
}
