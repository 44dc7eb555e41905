//! Attends to the revocations: takes in the events of the watch, and looks at each revocation when it is due.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::{Api, runtime::watcher::Event};
use tokio::{task::JoinSet, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    KIND, RevocationMemory, RevocationStanding, deleted::run_deleted_certificates, look,
    standing::standing,
};
use crate::{
    api::{revocation::CertificateRevocation, tolerant::Tolerant},
    issuance::crl::{CaId, SerialNumber},
    lanes::Lane,
    pipeline::now,
    reconcile::{
        Context, Seat,
        attend::{
            ListAndWatch, Uid,
            queue::{Due, Queue},
        },
        call::{Trouble, until},
        request::Next,
    },
};

/// How many looks at revocations run at the same time. Each has at most one call to the API server in flight.
const LOOKS: u16 = 16;

/// How often all revocations are read again, to find those whose certificates have ended meanwhile: they are not kept in
/// memory once they are on a CRL.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(6 * 3600);

/// A revocation, without the certificate and the proof.
type Revocations = Queue<Tolerant<CertificateRevocation>, RevocationMemory>;

/// Outcome of a look.
struct LookedRevocation {
    object: Arc<Tolerant<CertificateRevocation>>,
    memory: RevocationMemory,
    next: Next,
}

/// Attends to the revocations until `stop`. Looks that are in progress then are dropped: the next look, on any replica, does
/// the same again. Does nothing if the operator has not enabled CRLs.
pub async fn run_revocations(context: Arc<Context>, stop: &CancellationToken) {
    if !context.register.is_enabled() {
        return;
    }
    let attended = async {
        // Before every issuer is known, a revocation would wrongly be refused because its issuer does not exist.
        if context.stored.are_known().await {
            tokio::join!(attend(&context), run_deleted_certificates(&context));
        }
    };
    stop.run_until_cancelled(attended).await;
}

async fn attend(context: &Arc<Context>) {
    let api = Api::<Tolerant<CertificateRevocation>>::all(context.client.clone());
    let mut told = ListAndWatch::new(&api, None);
    let mut shares = context.ownership.changes();
    let mut published = context.register.changed();
    let mut queue = Queue::new(LOOKS, seat, Instant::now);
    let mut awaiting = Awaiting::default();
    let mut looks = JoinSet::new();
    let mut trouble = Trouble::of(KIND, &context.metrics);
    let mut again = Instant::now() + READ_AGAIN_AFTER;
    loop {
        while let Some(due) = queue.next() {
            looks.spawn(look_at(due, Arc::clone(context)));
        }
        tokio::select! {
            // A look cannot fail to join: a panic in it has ended the process.
            Some(Ok(looked)) = looks.join_next() => {
                awaiting.looked(&looked, &mut queue, context);
                queue.looked(&looked.object, looked.memory, looked.next, Instant::now());
            }
            Ok(()) = shares.changed() => queue.wake_all(),
            Ok(()) = published.changed() => awaiting.wake(&mut queue, context),
            () = until(queue.next_wake()) => queue.wake_due(Instant::now()),
            () = sleep_until(again.into()) => {
                told.read_again();
                again = Instant::now() + READ_AGAIN_AFTER;
            }
            event = told.next() => match event {
                Ok(event) => take(event, &mut queue, &mut awaiting, context),
                Err(error) => trouble.report(&error),
            },
        }
    }
}

/// Looks at a revocation.
async fn look_at(
    due: Due<Tolerant<CertificateRevocation>, RevocationMemory>,
    context: Arc<Context>,
) -> LookedRevocation {
    let Due {
        object,
        mut memory,
        deleted,
        ..
    } = due;
    let next = match deleted {
        // Deleting a revocation un-revokes nothing.
        true => Next::Ended,
        false => look(&object, &mut memory, &context).await,
    };
    LookedRevocation {
        object,
        memory,
        next,
    }
}

/// Returns the place of a revocation: namespaces take turns.
fn seat(revocation: &Tolerant<CertificateRevocation>) -> Seat {
    let namespace = kube::Resource::meta(revocation).namespace.as_deref();
    Seat {
        lane: Lane {
            tenant: namespace.unwrap_or_default().into(),
            issuer: Arc::default(),
        },
        token: None,
    }
}

fn take(
    event: Event<Tolerant<CertificateRevocation>>,
    queue: &mut Revocations,
    awaiting: &mut Awaiting,
    context: &Context,
) {
    match event {
        Event::Init => queue.begin_list(),
        Event::InitApply(object) | Event::Apply(object) => {
            let standing = object.0.as_ref().ok().map(|one| standing(one, now()));
            let object = slimmed(object);
            match standing {
                Some(RevocationStanding::Settled) => {
                    awaiting.forget(&Uid::of(&object), context);
                    queue.end(object, Instant::now());
                }
                Some(RevocationStanding::Open | RevocationStanding::Stored) | None => {
                    queue.put(object);
                }
            }
        }
        Event::InitDone => {
            for gone in queue.end_list() {
                awaiting.forget(&Uid::of(&*gone), context);
            }
        }
        Event::Delete(object) => {
            awaiting.forget(&Uid::of(&object), context);
            queue.delete(&object);
        }
    }
}

/// Removes every field that a look reads again.
fn slimmed(mut object: Tolerant<CertificateRevocation>) -> Tolerant<CertificateRevocation> {
    if let Ok(revocation) = &mut object.0 {
        let spec = &mut revocation.spec.0;
        (spec.certificate, spec.proof) = (None, None);
        revocation.status = None;
        revocation.metadata.labels = None;
        revocation.metadata.annotations = None;
        revocation.metadata.owner_references = None;
    }
    object
}

/// The stored revocations that are on no CRL yet.
#[derive(Default)]
struct Awaiting(HashMap<Uid, (CaId, SerialNumber, Timestamp)>);

impl Awaiting {
    /// Takes in the outcome of a look.
    fn looked(&mut self, looked: &LookedRevocation, queue: &mut Revocations, context: &Context) {
        let uid = Uid::of(&*looked.object);
        match looked.memory.awaits {
            Some((ca, serial, since)) => {
                self.0.insert(uid.clone(), (ca, serial, since));
                // The CRL may have been published since the look.
                if context.register.published(&ca, &serial).is_some() {
                    queue.wake(&uid);
                }
            }
            None => {
                self.0.remove(&uid);
            }
        }
        self.show(context);
    }

    /// Makes due every revocation that is on a CRL now.
    fn wake(&self, queue: &mut Revocations, context: &Context) {
        for (uid, (ca, serial, _)) in &self.0 {
            if context.register.published(ca, serial).is_some() {
                queue.wake(uid);
            }
        }
    }

    fn forget(&mut self, uid: &Uid, context: &Context) {
        if self.0.remove(uid).is_some() {
            self.show(context);
        }
    }

    fn show(&self, context: &Context) {
        let oldest = self.0.values().map(|(_, _, since)| since.as_second()).min();
        context.metrics.revocations_waiting(self.0.len(), oldest);
    }
}
