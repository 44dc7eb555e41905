//! Each request with the one kind of answer that it allows.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::Connection;
use crate::{
    client::{HsmError, Key},
    protocol::{
        Answer, Ask, FoundKey, KeyNumber, KeyQuery, KeySelector, LoginAnswer, Mechanism,
        ObjectKind, ObjectPage, Pin, SeenCertificate, SeenKey, Stats, TokenInfo,
    },
};

impl Connection {
    pub(crate) async fn login(&self, pin: Pin, deadline: Instant) -> Result<LoginAnswer, HsmError> {
        let Answer::Login(answer) = self.ask(deadline, |_| Ask::Login(pin)).await? else {
            return Err(HsmError::WrongAnswer);
        };
        if answer == LoginAnswer::Accepted {
            self.logged_in.store(true, Ordering::Release);
        }
        Ok(answer)
    }

    pub(crate) async fn describe(&self, deadline: Instant) -> Result<TokenInfo, HsmError> {
        let Answer::Token(token) = self.ask(deadline, |_| Ask::Describe).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(token)
    }

    pub(crate) async fn find_key(
        &self,
        selector: &KeySelector,
        deadline: Instant,
    ) -> Result<Key, HsmError> {
        let wanted = KeyQuery::Selected(selector.clone());
        let found = self.found(wanted, deadline).await?;
        Ok(Key::new(found, self.generation))
    }

    pub(crate) async fn keys(
        &self,
        kind: ObjectKind,
        from: u16,
        deadline: Instant,
    ) -> Result<ObjectPage<SeenKey>, HsmError> {
        let ask = |deadline| Ask::List {
            kind,
            from,
            deadline,
        };
        let Answer::Keys(page) = self.ask(deadline, ask).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(page)
    }

    pub(crate) async fn certificates(
        &self,
        from: u16,
        deadline: Instant,
    ) -> Result<ObjectPage<SeenCertificate>, HsmError> {
        let ask = |deadline| Ask::List {
            kind: ObjectKind::Certificates,
            from,
            deadline,
        };
        let Answer::Certificates(page) = self.ask(deadline, ask).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(page)
    }

    pub(crate) async fn sign(
        &self,
        key: &Key,
        mechanism: Mechanism,
        payload: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, HsmError> {
        let number = match key.number(self.generation) {
            Some(number) => number,
            None => self.find_again(key, deadline).await?,
        };
        let ask = |deadline| Ask::Sign {
            key: number,
            mechanism,
            deadline,
            payload: payload.to_vec(),
        };
        let Answer::Signature(signature) = self.ask(deadline, ask).await? else {
            return Err(HsmError::WrongAnswer);
        };
        self.signed.store(true, Ordering::Relaxed);
        Ok(signature)
    }

    pub(crate) async fn random(&self, len: u16, deadline: Instant) -> Result<Vec<u8>, HsmError> {
        let Answer::Random(octets) = self
            .ask(deadline, |deadline| Ask::Random { len, deadline })
            .await?
        else {
            return Err(HsmError::WrongAnswer);
        };
        if octets.len() == usize::from(len) {
            Ok(octets)
        } else {
            Err(HsmError::WrongAnswer)
        }
    }

    pub(crate) async fn stats(&self, deadline: Instant) -> Result<Stats, HsmError> {
        let Answer::Stats(stats) = self.ask(deadline, |_| Ask::Stats).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(stats)
    }

    async fn found(&self, wanted: KeyQuery, deadline: Instant) -> Result<FoundKey, HsmError> {
        let ask = |deadline| Ask::FindKey { wanted, deadline };
        let Answer::Key(found) = self.ask(deadline, ask).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(found)
    }

    async fn find_again(&self, key: &Key, deadline: Instant) -> Result<KeyNumber, HsmError> {
        let wanted = KeyQuery::Again(key.identity().clone());
        let found = self.found(wanted, deadline).await?;
        if found.identity != *key.identity() {
            return Err(HsmError::KeyNotFound {
                differing: vec![found.identity.name()],
            });
        }
        key.found_again(self.generation, found.number);
        Ok(found.number)
    }
}
