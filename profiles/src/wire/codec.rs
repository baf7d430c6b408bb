//! The two codecs: JSON lines, and MessagePack behind a length.
//!
//! ```
//! use slmscope_profiles::wire::codec::{Codec, Envelope, Incoming};
//! use slmscope_profiles::wire::{Frame, Talk};
//!
//! let bye = Talk::Bye { reason: "the daemon stops".to_owned() };
//! for codec in [Codec::Json, Codec::MessagePack] {
//!     let mut buffer = codec.encode(Envelope::Frame, &bye);
//!     let message = codec.split(&mut buffer).unwrap().expect("a whole message");
//!     assert_eq!(codec.incoming(&message).unwrap(), Incoming::Frame(Box::new(Frame::Talk(bye.clone()))));
//! }
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BadRequest, Frame, Reply, Request, reading};
use crate::json;
use crate::workload::MAX_TEXT;

/// Longest message that is accepted, bytes: a prompt of [`MAX_TEXT`] and what stands around it. In JSON an escaped
/// character counts as it is written. Checked before memory is spent.
pub const MAX_MESSAGE: usize = MAX_TEXT + (1 << 20);

/// Which codec a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// One JSON object a line.
    Json,
    /// Length, kind, MessagePack map.
    MessagePack,
}

/// What a MessagePack message is, by its kind byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// Client to daemon.
    Request = 1,
    /// Daemon to client, with `re`.
    Reply = 2,
    /// Daemon to client, unasked.
    Frame = 3,
}

/// A message that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes; at most {MAX_MESSAGE} are accepted")]
    TooLong(usize),
    /// Not JSON, or not this message.
    #[error("not a valid message: {0}")]
    Json(#[from] serde_json::Error),
    /// Not MessagePack, or not this message.
    #[error("not a valid message: {0}")]
    MessagePack(#[from] rmp_serde::decode::Error),
    /// An empty message or one of another kind.
    #[error("a message of unexpected kind {0:?}")]
    Kind(Option<u8>),
}

/// A message of the daemon, as a client receives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// To a request.
    Reply(Reply),
    /// Unasked.
    Frame(Box<Frame>),
    /// Of a kind that this build does not know, or whose content it cannot read: to be skipped.
    Unknown,
}

impl Codec {
    /// The bytes of a message, delimiter included.
    pub fn encode<T: Serialize>(self, envelope: Envelope, message: &T) -> Vec<u8> {
        match self {
            Self::Json => {
                let mut bytes = json::to_vec(message).expect("messages have string keys and cannot fail");
                bytes.push(b'\n');
                bytes
            }
            Self::MessagePack => {
                let mut bytes = vec![0; 5];
                rmp_serde::encode::write_named(&mut bytes, message).expect("writing to memory cannot fail");
                let length = (bytes.len() - 4) as u32;
                bytes[..4].copy_from_slice(&length.to_le_bytes());
                bytes[4] = envelope as u8;
                bytes
            }
        }
    }

    /// Takes the first whole message off `buffer`, without delimiter, length or line end; `None` if more
    /// bytes are needed.
    ///
    /// # Errors
    /// [`CodecError::TooLong`], as soon as that is known; the connection cannot go on.
    pub fn split(self, buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, CodecError> {
        match self {
            Self::Json => {
                let Some(end) = buffer.iter().position(|&byte| byte == b'\n') else {
                    if buffer.len() > MAX_MESSAGE {
                        return Err(CodecError::TooLong(buffer.len()));
                    }
                    return Ok(None);
                };
                let rest = buffer.split_off(end + 1);
                let mut message = std::mem::replace(buffer, rest);
                message.pop();
                Ok(Some(message))
            }
            Self::MessagePack => {
                let Some((length, _)) = buffer.split_first_chunk() else { return Ok(None) };
                let length = u32::from_le_bytes(*length) as usize;
                if length > MAX_MESSAGE {
                    return Err(CodecError::TooLong(length));
                }
                if buffer.len() < 4 + length {
                    return Ok(None);
                }
                let rest = buffer.split_off(4 + length);
                let mut message = std::mem::replace(buffer, rest);
                message.drain(..4);
                Ok(Some(message))
            }
        }
    }

    /// Reads a client's message, as [`Codec::split`] gave it.
    ///
    /// # Errors
    /// If it is no request that this build knows: which field is at fault, and what is expected there.
    pub fn request(self, message: &[u8]) -> Result<Request, BadRequest> {
        let fields = match self {
            Self::Json => serde_json::from_slice(message).map_err(|error| {
                BadRequest::no_object(if error.is_data() {
                    r#"a request is one JSON object on a line, such as {"jobs":{}}"#.to_owned()
                } else {
                    format!("it is not JSON: {error}")
                })
            }),
            Self::MessagePack => body(message, Envelope::Request).map_err(|_| {
                BadRequest::no_object("it is no MessagePack map with one request, such as {jobs: {}}")
            }),
        };
        reading::request(fields?)
    }

    /// Reads a daemon's message, as [`Codec::split`] gave it.
    ///
    /// # Errors
    /// If it is no message at all; one of a kind that this build does not know is [`Incoming::Unknown`].
    pub fn incoming(self, message: &[u8]) -> Result<Incoming, CodecError> {
        match self {
            Self::Json => incoming_json(message),
            Self::MessagePack => incoming_message_pack(message),
        }
    }
}

fn incoming_message_pack(message: &[u8]) -> Result<Incoming, CodecError> {
    Ok(match message.first().copied() {
        Some(kind) if kind == Envelope::Reply as u8 => {
            body(message, Envelope::Reply).map_or(Incoming::Unknown, Incoming::Reply)
        }
        Some(kind) if kind == Envelope::Frame as u8 => {
            body(message, Envelope::Frame).map_or(Incoming::Unknown, Incoming::Frame)
        }
        Some(_) => Incoming::Unknown,
        None => return Err(CodecError::Kind(None)),
    })
}

/// Most messages are frames, which are read in one pass.
fn incoming_json(message: &[u8]) -> Result<Incoming, CodecError> {
    if let Ok(frame) = serde_json::from_slice(message) {
        return Ok(Incoming::Frame(frame));
    }
    let value: serde_json::Value = serde_json::from_slice(message)?;
    let reply = if value.get("re").is_some() { serde_json::from_value(value).ok() } else { None };
    Ok(reply.map_or(Incoming::Unknown, Incoming::Reply))
}

fn body<T: DeserializeOwned>(message: &[u8], expected: Envelope) -> Result<T, CodecError> {
    match message.split_first() {
        Some((&kind, body)) if kind == expected as u8 => Ok(rmp_serde::from_slice(body)?),
        other => Err(CodecError::Kind(other.map(|(&kind, _)| kind))),
    }
}
