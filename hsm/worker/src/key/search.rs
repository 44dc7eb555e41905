//! One look-up on a session, which reads nothing after its deadline.

use cryptoki::{
    error::Error,
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use hsm::protocol::{Failure, Moment};

use super::NotOne;
use crate::watchdog::WatchdogSeat;

/// Look-up on a session, with its deadline.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    session: &'a Session,
    seat: &'a WatchdogSeat,
    deadline: Moment,
}

impl<'a> Search<'a> {
    /// Creates a look-up that nobody waits for after `deadline`. `seat` puts its calls under the watchdog.
    pub(crate) fn new(session: &'a Session, seat: &'a WatchdogSeat, deadline: Moment) -> Self {
        Self {
            session,
            seat,
            deadline,
        }
    }

    /// Returns the objects that match a template, or `None` if there are more than `most`.
    pub(super) fn objects(
        &self,
        template: &[Attribute],
        most: usize,
    ) -> Result<Option<Vec<ObjectHandle>>, NotOne> {
        let (found, more) = self.first_objects(template, most)?;
        Ok((!more).then_some(found))
    }

    /// Returns those of the given attributes that an object has. Reads them all at once, or one by one where an attribute
    /// that cannot be decoded would hide the others.
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

    /// Returns the first `most` objects that match a template, and whether there are more.
    pub(super) fn first_objects(
        &self,
        template: &[Attribute],
        most: usize,
    ) -> Result<(Vec<ObjectHandle>, bool), NotOne> {
        self.next_call()?;
        let mut found = Vec::new();
        // Dropping the iterator ends the search operation, so that the session is free for the next operation.
        for object in self.session.iter_objects(template)? {
            let object = object?;
            if found.len() == most {
                return Ok((found, true));
            }
            found.push(object);
            // The iterator asks the library for ten objects at a time, and does not show when it calls the library.
            self.next_call()?;
        }
        Ok((found, false))
    }

    /// To be called before each PKCS#11 call: every call may last up to the hang limit, and none begins after the
    /// deadline.
    pub(super) fn next_call(&self) -> Result<(), NotOne> {
        if self.deadline.has_passed() {
            return Err(NotOne::Failure(Failure::Expired));
        }
        self.seat.next_call();
        Ok(())
    }
}
