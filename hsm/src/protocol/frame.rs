//! Frames: a length of four octets, then one postcard value. The first frame of each side begins with magic and version.

use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};
use zeroize::Zeroize;

use super::VERSION;

/// Length of the longest frame in octets, not counting its length field.
pub const MAX_FRAME: usize = 64 * 1024;

/// Longest message, in octets, that a token gets whole. Leaves room for the rest of the frame.
pub const MAX_MESSAGE: usize = 60_000;

const MAGIC: [u8; 4] = *b"P11W";

/// Why a frame cannot be read or written.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The frame is longer than [`MAX_FRAME`].
    #[error("the frame exceeds {MAX_FRAME} octets")]
    Length(#[source] std::io::Error),
    /// The frame does not hold the value that the protocol has in this place.
    #[error("the frame cannot be decoded")]
    Decode(#[source] postcard::Error),
    /// The frame has octets after its value.
    #[error("the frame has {0} octets after its value")]
    Trailing(usize),
    /// The first frame does not belong to this protocol.
    #[error("the peer does not speak this protocol")]
    Magic,
    /// The first frame has another version.
    #[error(
        "the peer speaks version {theirs}, we speak {VERSION}; use controller and worker of one release"
    )]
    Version {
        /// The peer's version.
        theirs: u16,
    },
    /// The value cannot be encoded.
    #[error("the value cannot be encoded")]
    Encode(#[source] postcard::Error),
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .length_field_type::<u32>()
        .max_frame_length(MAX_FRAME)
        .new_codec()
}

/// Appends `value` to `out` as one frame.
///
/// # Errors
/// [`FrameError::Length`] when the value is too long for a frame; `out` is then unchanged.
pub fn append<T: Serialize>(out: &mut BytesMut, value: &T) -> Result<(), FrameError> {
    append_octets(out, encoded(value)?)
}

/// Appends a first frame: magic, version, value.
///
/// # Errors
/// As [`append`].
pub fn append_hello<T: Serialize>(out: &mut BytesMut, value: &T) -> Result<(), FrameError> {
    append_octets(out, encoded(&(MAGIC, VERSION, value))?)
}

/// Encodes a value into a buffer that has room for every frame with a PIN: a buffer that grows leaves copies of the PIN
/// in memory.
fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    postcard::to_extend(value, Vec::with_capacity(1024)).map_err(FrameError::Encode)
}

fn append_octets(out: &mut BytesMut, octets: Vec<u8>) -> Result<(), FrameError> {
    let octets = Bytes::from(octets);
    let appended = codec()
        .encode(octets.clone(), out)
        .map_err(FrameError::Length);
    // The octets may hold a PIN. The encoder has copied them, so this is their only owner.
    if let Ok(mut octets) = octets.try_into_mut() {
        octets.as_mut().zeroize();
    }
    appended
}

/// Received octets, cut into frames. Every frame is wiped after it is decoded, because it may carry a PIN.
#[derive(Debug)]
pub struct Inbox {
    octets: BytesMut,
    codec: LengthDelimitedCodec,
}

impl Default for Inbox {
    fn default() -> Self {
        // Room for the longest frame from the start: a buffer that grows leaves copies in memory.
        Self {
            octets: BytesMut::with_capacity(2 * MAX_FRAME),
            codec: codec(),
        }
    }
}

impl Inbox {
    /// Returns the buffer for the next octets read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.octets.reserve(4096);
        &mut self.octets
    }

    /// Adds octets that were read elsewhere.
    pub fn extend(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Returns the value of the next whole frame, if one has arrived.
    ///
    /// # Errors
    /// The frame is too long, or does not hold exactly one `T`.
    pub fn frame<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        self.decode_next(exactly)
    }

    /// Returns the value of the peer's first frame, if it has arrived.
    ///
    /// # Errors
    /// As [`Self::frame`]; another protocol or version is detected before the rest is decoded.
    pub fn hello<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        self.decode_next(|octets| {
            let (magic, rest) =
                postcard::take_from_bytes::<[u8; 4]>(octets).map_err(|_| FrameError::Magic)?;
            if magic != MAGIC {
                return Err(FrameError::Magic);
            }
            let (theirs, rest) =
                postcard::take_from_bytes::<u16>(rest).map_err(FrameError::Decode)?;
            if theirs != VERSION {
                return Err(FrameError::Version { theirs });
            }
            exactly(rest)
        })
    }

    fn decode_next<T>(
        &mut self,
        read: impl FnOnce(&[u8]) -> Result<T, FrameError>,
    ) -> Result<Option<T>, FrameError> {
        let Some(mut frame) = self
            .codec
            .decode(&mut self.octets)
            .map_err(FrameError::Length)?
        else {
            return Ok(None);
        };
        let value = read(&frame);
        frame.as_mut().zeroize();
        value.map(Some)
    }
}

fn exactly<T: DeserializeOwned>(octets: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(octets).map_err(FrameError::Decode)? {
        (value, []) => Ok(value),
        (_, rest) => Err(FrameError::Trailing(rest.len())),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::{FrameError, Inbox, MAX_FRAME, append, append_hello};
    use crate::protocol::{Ask, FromWorker, Hello, HelloReply, Moment, Request, TokenSelector};

    fn hello() -> Hello {
        Hello {
            said: Moment::now(),
            token: Some(TokenSelector::by_label("issuing")),
            sessions: None,
            hang_after_ms: 30_000,
        }
    }

    fn inbox(octets: &[u8]) -> Inbox {
        let mut inbox = Inbox::default();
        inbox.extend(octets);
        inbox
    }

    #[test]
    fn a_frame_that_arrives_octet_by_octet_is_one_frame() {
        let mut out = BytesMut::new();
        append(
            &mut out,
            &Request {
                id: 7,
                ask: Ask::Stats,
            },
        )
        .unwrap();
        let mut inbox = Inbox::default();
        let (last, first) = out.split_last().unwrap();
        for octet in first {
            inbox.extend(&[*octet]);
            assert!(inbox.frame::<Request>().unwrap().is_none());
        }
        inbox.extend(&[*last]);
        assert_eq!(inbox.frame::<Request>().unwrap().unwrap().id, 7);
    }

    #[test]
    fn a_frame_of_another_version_is_not_decoded_and_its_version_is_reported() {
        let mut out = BytesMut::new();
        append_hello(&mut out, &hello()).unwrap();
        // Length (4), magic (4), then the version as a varint.
        out[8] = 9;
        assert!(matches!(
            inbox(&out).hello::<Hello>(),
            Err(FrameError::Version { theirs: 9 })
        ));
    }

    #[test]
    fn a_peer_of_another_protocol_is_detected() {
        assert!(matches!(
            inbox(b"\0\0\0\x05HTTP/").hello::<Hello>(),
            Err(FrameError::Magic)
        ));
    }

    #[test]
    fn a_frame_longer_than_the_limit_is_refused_by_its_length_alone() {
        let length = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
        assert!(matches!(
            inbox(&length).frame::<Request>(),
            Err(FrameError::Length(_))
        ));
    }

    #[test]
    fn octets_after_the_value_are_refused() {
        let mut out = BytesMut::new();
        append(
            &mut out,
            &(
                Request {
                    id: 7,
                    ask: Ask::Stats,
                },
                0_u8,
            ),
        )
        .unwrap();
        assert!(matches!(
            inbox(&out).frame::<Request>(),
            Err(FrameError::Trailing(1))
        ));
    }

    proptest! {
        #[test]
        fn no_octets_make_a_decoder_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut framed = u32::try_from(octets.len()).unwrap().to_be_bytes().to_vec();
            framed.extend(&octets);
            // Both outcomes are correct; only a panic is wrong.
            drop(inbox(&framed).frame::<Request>());
            drop(inbox(&framed).frame::<FromWorker>());
            drop(inbox(&framed).hello::<HelloReply>());
            drop(inbox(&octets).frame::<Request>());
        }
    }
}
