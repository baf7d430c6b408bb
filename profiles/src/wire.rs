//! What crosses the socket between a daemon and its clients.
//!
//! A Unix stream socket; one set of types, two codecs, chosen by the client's first bytes:
//!
//! - `{` begins JSON lines: every message is one line. White space and a byte order mark may come before it. A request may state its protocol: `{"protocol":2,...}`.
//! - The eight bytes of [`MAGIC`] begin MessagePack: every message is a little-endian `u32` length, then a
//!   byte that says what it is ([`codec::Envelope`]), then a map with named fields. The length counts the
//!   byte and the map. Another protocol has another magic ([`protocol_of`]).
//!
//! What begins otherwise gets one line that says so, and the connection ends.
//!
//! The server says nothing until those bytes; its first message is [`Talk::Hello`]. A client of another protocol
//! gets a [`Talk::Bye`] with the remedy after it, and the connection ends. A request may carry an `id`; its
//! answer is `{re, ok}` or `{re, error}` with that id. Everything else that the daemon sends is a [`Frame`]: an
//! object with one key, which names the kind, and no id. Receivers skip kinds and fields that they do not know.

pub mod codec;
mod frame;
mod glob;
mod reading;
mod request;
mod talk;

pub use frame::Frame;
pub use glob::{glob_matches, glob_problem};
pub use reading::{BadRequest, MAX_ECHO};
pub use request::{
    ErrorCode, MAX_HZ, MAX_UNMATCHED, Method, OpsDetail, OpsDetails, Outcome, Reply, Request, Submit,
    Subscribe, SubscribeError, Subscribed, WireError,
};
pub use talk::{Capability, Hello, Talk};

/// First bytes of a client that speaks MessagePack. The last of them is the protocol's number, but for the
/// first protocol.
pub const MAGIC: [u8; 8] = *b"slmscop2";

/// The protocol that this build speaks. Grows when a change would mislead older readers.
pub const PROTOCOL: u32 = 2;

/// The first bytes of MessagePack clients of protocol 1.
const MAGIC_1: [u8; 8] = *b"slmscope";

/// The protocol of a MessagePack client that begins with these bytes; `None` if it is no client of ours.
pub fn protocol_of(magic: [u8; 8]) -> Option<u32> {
    match magic {
        MAGIC => Some(PROTOCOL),
        MAGIC_1 => Some(1),
        [b's', b'l', b'm', b's', b'c', b'o', b'p', digit @ b'3'..=b'9'] => Some(u32::from(digit - b'0')),
        _ => None,
    }
}

/// Whether a MessagePack client may begin with these bytes, of which more may come.
pub fn may_be_magic(bytes: &[u8]) -> bool {
    let (stem, last) = bytes.split_at(bytes.len().min(MAGIC.len() - 1));
    MAGIC.starts_with(stem)
        && last.first().is_none_or(|&last| {
            let magic = [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], MAGIC[4], MAGIC[5], MAGIC[6], last];
            protocol_of(magic).is_some()
        })
}

/// What a client of another protocol is told when its connection ends: the remedy.
pub fn other_protocol(theirs: u32) -> String {
    let remedy = if theirs < PROTOCOL {
        "update the client"
    } else {
        "update the daemon, or restart it if it was updated"
    };
    format!(
        "this daemon speaks protocol {PROTOCOL} and the client protocol {theirs}: {remedy}, so that both are of \
         the same version"
    )
}
