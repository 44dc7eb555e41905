//! Runs a request through a real queue against a cluster in memory.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    request,
    world::{InMemory, Told},
};
use crate::{
    api::{
        certificate_request::CertificateRequest,
        tolerant::{Tolerant, Unreadable},
    },
    reconcile::{
        Seat,
        attend::queue::Queue,
        request::{
            Memory, Request as _, act_until_settled, decide::Time, finish::account_for, is_finished,
        },
    },
};

type Object = Tolerant<CertificateRequest>;

/// Life of one request.
pub(super) struct Life {
    queue: Queue<Object, Memory>,
    pub(super) world: InMemory,
    is_long: bool,
}

impl Life {
    fn of(approval: Option<&str>) -> Self {
        let day = Timestamp::UNIX_EPOCH;
        let object = request(approval, day);
        let time = Time {
            day,
            steady: Instant::now(),
        };
        Self {
            queue: queue(),
            world: InMemory::new(object, time),
            is_long: false,
        }
    }

    /// Returns the life of an approved request that is too long to be kept whole.
    pub(super) fn of_long() -> Self {
        Self {
            is_long: true,
            ..Self::of_approved()
        }
    }

    pub(super) fn of_new() -> Self {
        Self::of(None)
    }

    pub(super) fn of_approved() -> Self {
        Self::of(Some("Approved"))
    }

    /// Takes in the reports of the watch, as `attend` does.
    pub(super) fn hears(&mut self) {
        loop {
            let next = self.world.told.borrow_mut().pop_front();
            match next {
                Some(Told::Applied(object)) if is_finished(&object) => {
                    self.queue
                        .end(Tolerant(Ok(object)), self.world.now.get().steady);
                }
                Some(Told::Applied(mut object)) => {
                    if self.is_long {
                        object.lighten();
                    }
                    self.queue.put(Tolerant(Ok(object)));
                }
                Some(Told::Deleted(object)) => self.queue.delete(&Tolerant(Ok(object))),
                Some(Told::Garbled(metadata)) => self.queue.put(garbled(metadata)),
                Some(Told::GarbledDeleted(metadata)) => self.queue.delete(&garbled(metadata)),
                None => return,
            }
        }
    }

    /// Looks at the request as often as it is due.
    pub(super) fn looks(&mut self) {
        while let Some(due) = self.queue.next() {
            let mut memory = due.memory;
            let next = match (&due.object.0, due.deleted) {
                (_, true) => block_on(account_for(
                    &due.object,
                    &mut memory,
                    super::SUPERSEDED,
                    &self.world,
                ))
                .map(|()| super::Next::Ended),
                (Ok(request), false) => {
                    block_on(act_until_settled(request, &mut memory, &self.world))
                }
                (Err(_), false) => Ok(super::Next::OnChange),
            };
            let now = self.world.now.get().steady;
            let next = next.unwrap_or_else(|_| memory.retry_at(due.waiting, now));
            self.queue.looked(&due.object, memory, next, now);
        }
    }

    /// Takes in reports and looks until there are no more reports.
    pub(super) fn goes_on(&mut self) {
        loop {
            self.hears();
            self.looks();
            if self.world.told.borrow().is_empty() {
                return;
            }
        }
    }

    /// Lets time pass while the process runs.
    pub(super) fn passes(&mut self, time: Duration) {
        self.is_away(time);
        self.queue.wake_due(self.world.now.get().steady);
        self.goes_on();
    }

    /// Lets time pass while no process runs.
    pub(super) fn is_away(&mut self, time: Duration) {
        let Time { day, steady } = self.world.now.get();
        let day = day + SignedDuration::try_from(time).unwrap();
        let steady = steady + time;
        self.world.now.set(Time { day, steady });
    }

    /// Reports a change of the request's issuer.
    pub(super) fn is_woken_anew(&mut self) {
        self.queue.wake_anew(&"1".into());
        self.goes_on();
    }

    /// Replaces the process by a new one, which lists the stored objects.
    pub(super) fn restarts(&mut self) {
        self.queue = queue();
        let stored = self.world.stored.borrow().clone();
        self.world.told.borrow_mut().clear();
        let told = stored.map(Told::Applied);
        self.world.told.borrow_mut().extend(told);
        self.goes_on();
    }

    /// Returns when the request is looked at again if nothing changes.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.queue.next_wake()
    }

    pub(super) fn keeps_nothing(&self) -> bool {
        self.queue.is_empty()
    }
}

fn garbled(metadata: ObjectMeta) -> Object {
    Tolerant(Err(Unreadable {
        error: "a test".to_owned(),
        metadata,
    }))
}

fn queue() -> Queue<Object, Memory> {
    Queue::new(4, |_| Seat::default(), Instant::now)
}
