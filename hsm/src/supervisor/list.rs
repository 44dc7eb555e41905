//! Lists of a token's objects, page by page.

use std::{future::Future, time::Instant};

use super::Token;
use crate::{
    client::HsmError,
    protocol::{MOST_OBJECTS, ObjectKind, ObjectPage, SeenCertificate, SeenKey},
};

/// Objects of one kind on a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectList<T> {
    /// At most [`MOST_OBJECTS`] objects, in the order of the token.
    pub objects: Vec<T>,
    /// Whether the token has more.
    pub is_cut: bool,
}

impl Token {
    /// Lists the private keys, or the public keys, that the token shows: all of them, whoever may use them. An object that is
    /// made or removed meanwhile may be missing or there twice. Best on a token with one session, whose order of objects does
    /// not change.
    ///
    /// # Errors
    /// Every passing error; [`HsmError::TokenRefused`].
    pub async fn keys(
        &self,
        private: bool,
        deadline: Instant,
    ) -> Result<ObjectList<SeenKey>, HsmError> {
        let kind = match private {
            true => ObjectKind::PrivateKeys,
            false => ObjectKind::PublicKeys,
        };
        let connection = &self.connection(deadline).await?;
        listed(|from| connection.keys(kind, from, deadline.into())).await
    }

    /// Lists the certificates that the token shows. Otherwise as [`Self::keys`].
    ///
    /// # Errors
    /// As [`Self::keys`].
    pub async fn certificates(
        &self,
        deadline: Instant,
    ) -> Result<ObjectList<SeenCertificate>, HsmError> {
        let connection = &self.connection(deadline).await?;
        listed(|from| connection.certificates(from, deadline.into())).await
    }
}

async fn listed<T, F>(next: impl Fn(u16) -> F) -> Result<ObjectList<T>, HsmError>
where
    F: Future<Output = Result<ObjectPage<T>, HsmError>>,
{
    let mut objects = Vec::new();
    loop {
        let from = u16::try_from(objects.len()).map_err(|_| HsmError::WrongAnswer)?;
        let page = next(from).await?;
        let is_empty = page.objects.is_empty();
        objects.extend(page.objects);
        if is_empty || !page.more || objects.len() >= usize::from(MOST_OBJECTS) {
            return Ok(ObjectList {
                objects,
                is_cut: page.more,
            });
        }
    }
}
