//! Attends to the requests of one kind: follows their changes and looks at each when it is due.

mod asked;
mod drain;
mod interrupted;
mod keep;
mod kinds;
mod list;
mod look;
mod newer;
pub(super) mod queue;
mod told;
mod traced;
mod uid;
mod undecided;
mod waiting;
mod watch;

use std::{sync::Arc, time::Instant};

use kube::{Api, runtime::watcher::Event};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    asked::Asked,
    drain::drain,
    keep::slimmed,
    look::{Looks, look_at},
    queue::Queue,
    undecided::Undecided,
    waiting::WaitingRequests,
};
pub use self::{
    asked::{AskedQueues, QueueOfKind, Queues},
    drain::Ending,
    kinds::{AnsweredKinds, CertificateRequests, answer},
};
pub(super) use self::{told::ListAndWatch, uid::Uid};
use super::{
    Context,
    call::{Trouble, until},
    issuer::Wake,
    request::{Memory, Request, is_finished, seat, undecided_since, waiter, waits_since},
};
use crate::api::tolerant::Tolerant;

/// Receiver of requests whose issuer has changed or whose turn has come.
pub(super) type WokenRequests = mpsc::UnboundedReceiver<Wake>;

/// The requests of one kind, each with its memory.
type Requests<R> = Queue<Tolerant<R>, Memory>;

/// Looks at the requests of one kind until `ending.stop` is cancelled, and then [drains](drain()).
///
/// `fields` is the field selector of the list and the watch. `woken` receives the requests to look at again. `most` limits
/// the looks in progress for each token. `asked` receives questions for the state of the queue. `known` is cancelled when the
/// first list has been read to its end.
pub(super) async fn attend<R: Request>(
    fields: Option<String>,
    mut woken: WokenRequests,
    mut asked: Asked,
    most: u16,
    context: Arc<Context>,
    known: CancellationToken,
    ending: Ending,
) {
    let api = Api::<Tolerant<R>>::all(context.client.clone());
    let mut told = ListAndWatch::new(&api, fields.as_deref());
    let mut shares = context.ownership.changes();
    let seat = {
        let context = Arc::clone(&context);
        move |request: &Tolerant<R>| seat(request, &context)
    };
    let mut queue = Queue::new(most, seat, Instant::now);
    let mut counted = Counted {
        undecided: Undecided::new(R::KIND, Arc::clone(&context.metrics)),
        waiting: WaitingRequests::new(R::KIND, Arc::clone(&context.metrics)),
    };
    let mut looks = Looks::new();
    let mut trouble = Trouble::of(R::KIND.as_str(), &context.metrics);
    loop {
        while let Some(due) = queue.next() {
            let request = due.object.0.as_ref().ok();
            let since = request.and_then(|request| waits_since(request, &context));
            let uid = Uid::of(&*due.object);
            counted.waiting.begun(&uid, since, Instant::now());
            looks.spawn(look_at(due, Arc::clone(&context), ending.abandon.clone()));
        }
        tokio::select! {
            () = ending.stop.cancelled() => break,
            // `Err` is not handled: a look that panics ends the process.
            Some(Ok(looked)) = looks.join_next() => {
                looked.count(&mut counted.waiting);
                looked.tell(&mut queue);
            }
            Some(woken) = woken.recv() => wake(&woken, &mut queue),
            // Nobody waits for the answer any more if it cannot be sent.
            Some(asks) = asked.recv() => drop(asks.send(queue.state(Instant::now()))),
            Ok(()) = shares.changed() => queue.wake_all(),
            () = until(queue.next_wake()) => queue.wake_due(Instant::now()),
            event = told.next() => match event {
                Ok(event) => {
                    if matches!(event, Event::InitDone) {
                        known.cancel();
                    }
                    take(event, &mut queue, &mut counted, &context);
                }
                Err(error) => trouble.report(&error),
            },
        }
    }
    drain(queue, looks, &context, &ending.abandon).await;
}

/// The requests of one kind that the metrics count.
struct Counted {
    undecided: Undecided,
    waiting: WaitingRequests,
}

impl Counted {
    fn forget(&mut self, uid: &Uid) {
        self.undecided.put(uid, None);
        self.waiting.forget(uid);
    }
}

fn take<R: Request>(
    event: Event<Tolerant<R>>,
    queue: &mut Requests<R>,
    counted: &mut Counted,
    context: &Context,
) {
    match event {
        Event::Init => {
            // The list reports every request that still waits.
            context.issuers.forget_waiting(R::KIND);
            context.limiter.leave_all(|request| request.kind == R::KIND);
            queue.begin_list();
        }
        Event::InitApply(object) | Event::Apply(object) => {
            let Some(object) = slimmed(object) else {
                return;
            };
            let (request, uid, now) = (object.0.as_ref().ok(), Uid::of(&object), Instant::now());
            let since = request.and_then(|request| undecided_since(request, context));
            counted.undecided.put(&uid, since);
            match request.and_then(|request| waits_since(request, context)) {
                Some(since) => counted.waiting.due(&uid, since, now),
                None => counted.waiting.forget(&uid),
            }
            match request.is_some_and(is_finished) {
                true => queue.end(object, now),
                false => queue.put(object),
            }
        }
        Event::InitDone => {
            for gone in queue.end_list() {
                counted.forget(&Uid::of(&*gone));
                leave(&gone, context);
            }
        }
        Event::Delete(object) => {
            let request = object.0.as_ref().ok();
            if let Some(request) = request.and_then(Request::as_certificate_request) {
                context.deleted.request_deleted(request, context);
            }
            counted.forget(&Uid::of(&object));
            leave(&object, context);
            queue.delete(&object);
        }
    }
}

/// Removes a deleted request from every waiting list.
fn leave<R: Request>(object: &Tolerant<R>, context: &Context) {
    if let Ok(request) = &object.0 {
        let request = waiter(request);
        context.issuers.leave(&request);
        context.limiter.leave(&request);
    }
}

fn wake<R: Request>(wake: &Wake, queue: &mut Requests<R>) {
    let uid = Uid::from(wake.request.uid.as_str());
    match wake.issuer_changed {
        true => queue.wake_anew(&uid),
        false => queue.wake(&uid),
    }
}
