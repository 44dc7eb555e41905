//! The UID of an object, small.

use kube::Resource;

/// A UID. Those of the API server are UUIDs in lower case, which take a third of the memory of their text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::reconcile) enum Uid {
    Uuid([u8; 16]),
    Other(Box<str>),
}

impl Uid {
    pub(super) fn of(object: &impl Resource) -> Self {
        object.meta().uid.as_deref().unwrap_or_default().into()
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        uuid(text).map_or_else(|| Self::Other(text.into()), Self::Uuid)
    }
}

/// RFC 9562, section 4, in lower case alone, so that no two texts are one UUID.
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
    fn no_two_texts_are_one_uid() {
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
