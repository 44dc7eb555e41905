//! A compact form of an object's UID.

use kube::Resource;

/// UID of an object. The API server's UIDs are lower-case UUIDs; their octets take a third of the memory of the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::reconcile) enum Uid {
    Uuid([u8; 16]),
    Other(Box<str>),
}

impl Uid {
    pub(in crate::reconcile) fn of(object: &impl Resource) -> Self {
        object.meta().uid.as_deref().unwrap_or_default().into()
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        uuid(text).map_or_else(|| Self::Other(text.into()), Self::Uuid)
    }
}

/// Parses a UUID (RFC 9562, section 4). Upper case is rejected, so that no two texts give the same UUID.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let lengths = text.split('-').map(str::len);
    if !lengths.eq([8, 4, 4, 4, 12]) || text.bytes().any(|octet| octet.is_ascii_uppercase()) {
        return None;
    }
    let mut uuid = [0; 16];
    hex::decode_to_slice(text.replace('-', ""), &mut uuid).ok()?;
    Some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_different_texts_never_give_the_same_uid() {
        let text = "0e9e3d8a-5f0c-4b63-9a0e-2f6d1c7b8a90";
        assert!(matches!(Uid::from(text), Uid::Uuid(_)));
        for other in [
            "0E9E3D8A-5F0C-4B63-9A0E-2F6D1C7B8A90",
            "0e9e3d8a5f0c-4b63-9a0e-2f6d1c7b8a90",
            "0e9e3d8a-5f0c-4b63-9a0e-2f6d1c7b8a90-",
            "0e9e3d8a-5f0c-4b63-9a0e-2f6d1c7b8a9g",
            "0e9e3d8a-5f0c-4b63-9a0e-2f6d1c7b8aé",
            "",
        ] {
            assert_eq!(Uid::from(other), Uid::Other(other.into()));
        }
    }
}
