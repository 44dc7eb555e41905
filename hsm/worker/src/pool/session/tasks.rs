//! The requests that a session thread answers with its session.

use std::sync::atomic::Ordering;

use cryptoki::{
    context::Function,
    error::{Error, RvError},
};
use hsm::protocol::{
    Answer, Failure, FoundKey, KeyNumber, KeyQuery, LoginAnswer, Mechanism, Moment, ObjectKind,
    TokenCode,
};

use super::{Miss, SessionThread};
use crate::{
    key::{self, Candidate, NotOne, Search},
    login,
    mechanism::{self, Input, SignFailure},
    recovery::code,
};

impl SessionThread {
    pub(super) fn log_in(&self, pin: &hsm::Pin) -> Result<Answer, Miss> {
        // The client tries one login at a time. If it does not, a second request must not become a second try of the PIN.
        if self.shared.logged_in.swap(true, Ordering::AcqRel) {
            return Err(Failure::BadRequest {
                why: "the user is logged in already, or a login is being tried".into(),
            }
            .into());
        }
        let session = self.session()?;
        self.shared
            .answers
            .counters
            .logins
            .fetch_add(1, Ordering::Relaxed);
        let answer = self
            .seat
            .during(|| login::log_in(&self.shared.token, session, pin));
        if answer == LoginAnswer::Accepted {
            // "No keys" counts only if the token is still present: it may have disappeared since the login.
            let had_keys = self.seat.during(|| match key::any(session) {
                Ok(false) => self.shared.token.describe().is_err(),
                Ok(true) | Err(_) => true,
            });
            self.shared.had_keys.store(had_keys, Ordering::Release);
        } else {
            self.shared.logged_in.store(false, Ordering::Release);
        }
        Ok(Answer::Login(answer))
    }

    pub(super) fn find_key(&mut self, wanted: &KeyQuery, deadline: Moment) -> Result<Answer, Miss> {
        let session = self.session()?;
        let search = Search::new(session, &self.seat, deadline);
        let found = self.seat.during(|| match wanted {
            KeyQuery::Selected(selector) => key::select(&search, selector),
            KeyQuery::Again(identity) => key::find_again(&search, identity),
        });
        if let Err(NotOne::Failure(Failure::KeyNotFound { .. })) = &found {
            // "Not found" proves nothing: a library that has lost its token returns CKR_OK and shows no objects.
            if self.shared.had_keys.load(Ordering::Acquire)
                && !self.seat.during(|| key::any(session))?
            {
                return Err(Miss::KeyGone);
            }
        }
        let key = found?;
        self.shared.had_keys.store(true, Ordering::Release);
        let too_many = || Failure::BadRequest {
            why: "this connection has found too many keys".into(),
        };
        let number = self.shared.number(&key.identity).ok_or_else(too_many)?;
        self.handles.insert(number.0, key.clone());
        let mechanisms = self
            .seat
            .during(|| self.shared.token.mechanisms(key.identity.algorithm));
        Ok(Answer::Key(FoundKey {
            mechanisms,
            number,
            identity: key.identity,
            attributes: key.attributes,
        }))
    }

    pub(super) fn list(
        &self,
        kind: ObjectKind,
        from: u16,
        deadline: Moment,
    ) -> Result<Answer, Miss> {
        let search = Search::new(self.session()?, &self.seat, deadline);
        let token = &self.shared.token;
        let answer = self.seat.during(|| match kind {
            ObjectKind::PrivateKeys => key::keys(&search, token, true, from).map(Answer::Keys),
            ObjectKind::PublicKeys => key::keys(&search, token, false, from).map(Answer::Keys),
            ObjectKind::Certificates => key::certificates(&search, from).map(Answer::Certificates),
        })?;
        Ok(answer)
    }

    pub(super) fn sign(
        &mut self,
        number: KeyNumber,
        mechanism: Mechanism,
        payload: &[u8],
        deadline: Moment,
    ) -> Result<Answer, Miss> {
        let key = self.key(number, deadline)?;
        let (handle, algorithm) = (key.handle, key.identity.algorithm);
        let input = Input::new(algorithm, mechanism, payload)?;
        let session = self.session()?;
        let signer = &self.shared.token.signer;
        let signed = self
            .seat
            .during(|| mechanism::sign(signer, session, handle, algorithm, mechanism, &input));
        match signed {
            Ok(signature) => Ok(Answer::Signature(signature)),
            Err(SignFailure::Malformed { octets }) => {
                let why = TokenCode {
                    function: "C_Sign".into(),
                    code: format!("CKR_OK with {octets} octets"),
                };
                self.discard(&why);
                Err(Failure::TokenFailed(why).into())
            }
            Err(SignFailure::Token(error)) if refuses_the_mechanism(&error) => {
                let offer = self.seat.during(|| self.shared.token.offer(algorithm));
                let why = format!("{}: {}; {offer}", mechanism.name(), code(&error));
                self.unreported(&code(&error));
                // A failed `C_SignInit` begins no operation. The only session is kept, because discarding it would end
                // the process at every such signature.
                if self.shared.anchored {
                    self.discard(&code(&error));
                }
                Err(Failure::MechanismRefused { why }.into())
            }
            Err(SignFailure::Token(error)) => Err(self.distinguish(error, number)),
        }
    }

    /// Returns the key with this number and its handle, which it looks up when this session first needs it.
    fn key(&mut self, number: KeyNumber, deadline: Moment) -> Result<&Candidate, Miss> {
        if !self.handles.contains_key(&number.0) {
            let unknown = || Failure::BadRequest {
                why: format!("there is no key {}", number.0),
            };
            let identity = self.shared.identity(number).ok_or_else(unknown)?;
            let search = Search::new(self.session()?, &self.seat, deadline);
            let found = match self.seat.during(|| key::find_again(&search, &identity)) {
                // The token has shown the key before.
                Err(NotOne::Failure(Failure::KeyNotFound { .. })) => return Err(Miss::KeyGone),
                found => found?,
            };
            self.handles.insert(number.0, found);
        }
        self.handles.get(&number.0).ok_or(Miss::KeyGone)
    }
}

/// Returns whether the token refuses the mechanism, so that another one may do.
fn refuses_the_mechanism(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::MechanismInvalid | RvError::MechanismParamInvalid | RvError::ActionProhibited,
            Function::SignInit
        )
    )
}
