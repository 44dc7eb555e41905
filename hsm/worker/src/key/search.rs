//! One look-up on a session: nothing is read after its deadline.

use cryptoki::{
    error::Error,
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use hsm::protocol::{Failure, Moment};

use super::NotOne;
use crate::watchdog::Seat;

/// A session, and until when it is read from.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    session: &'a Session,
    seat: &'a Seat,
    deadline: Moment,
}

impl<'a> Search<'a> {
    /// A look-up that nobody waits for after `deadline`. Its calls are made under `seat`.
    pub(crate) fn new(session: &'a Session, seat: &'a Seat, deadline: Moment) -> Self {
        Self {
            session,
            seat,
            deadline,
        }
    }

    /// The objects that a template matches, or `None` if there are more than `most`.
    pub(super) fn objects(
        &self,
        template: &[Attribute],
        most: usize,
    ) -> Result<Option<Vec<ObjectHandle>>, NotOne> {
        self.next_call()?;
        let mut found = Vec::new();
        // Dropped, it ends the operation, and the session can be used for another.
        for object in self.session.iter_objects(template)? {
            let object = object?;
            if found.len() == most {
                return Ok(None);
            }
            found.push(object);
            // The iterator asks the library for ten at a time, and does not tell when.
            self.next_call()?;
        }
        Ok(Some(found))
    }

    /// These attributes of an object, as many as it has: all at once; one by one where a single attribute that cannot be
    /// read would hide the others.
    pub(super) fn attributes(
        &self,
        object: ObjectHandle,
        asked: &[AttributeType],
    ) -> Result<Vec<Attribute>, NotOne> {
        self.next_call()?;
        match self.session.get_attributes(object, asked) {
            Ok(attributes) => return Ok(attributes),
            Err(error @ Error::Pkcs11(..)) => return Err(error.into()),
            Err(_undecodable) => {}
        }
        let mut attributes = Vec::new();
        for kind in asked {
            self.next_call()?;
            let read = self.session.get_attributes(object, &[*kind]);
            attributes.extend(read.unwrap_or_default());
        }
        Ok(attributes)
    }

    /// Stands between two calls: each may take as long as a call may, all of them no longer than the deadline.
    fn next_call(&self) -> Result<(), NotOne> {
        if self.deadline.has_passed() {
            return Err(NotOne::Failure(Failure::Expired));
        }
        self.seat.next_call();
        Ok(())
    }
}
