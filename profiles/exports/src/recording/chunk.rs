//! One chunk of a recording: checked whole before its first message is believed.

use std::io::Read;

use mcap::records::{Record as McapRecord, op};

use super::{Entry, MAX_CHUNK, Topic};

/// A part of the file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file the part begins, bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub kind: DamageKind,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.kind)
    }
}

/// What is wrong with a part of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DamageKind {
    /// Its bytes are not those that were written.
    #[error("a chunk does not have its checksum")]
    Checksum,
    /// It cannot be decompressed, or has another length than it says.
    #[error("a chunk cannot be decompressed")]
    Compression,
    /// It is compressed in a way that this build cannot read.
    #[error("a chunk is compressed with {0:?}; recordings use zstd")]
    UnknownCompression(String),
    /// It says that it is longer than any that is written.
    #[error("a part claims to have {0} bytes; at most {MAX_CHUNK} are read")]
    TooLong(u64),
    /// The container's own structure is broken.
    #[error("not a part of a recording")]
    Structure,
    /// A message whose content cannot be read.
    #[error("a message `{0}` that cannot be read")]
    Message(&'static str),
    /// Zeros to the end, as a file system leaves them after a power cut.
    #[error("zeros instead of data")]
    Zeros,
}

/// What one message turned out to be.
pub(super) enum Message {
    /// Readable.
    Entry(Entry),
    /// Of a kind that this build does not know.
    Unknown,
    /// Broken.
    Damage(DamageKind),
}

/// The messages of a chunk, one after the other.
#[derive(Default)]
pub(super) struct Chunk {
    /// Decompressed; one buffer for all chunks.
    bytes: Vec<u8>,
    /// Where the next MCAP record of it begins.
    at: usize,
}

impl Chunk {
    /// Decompresses the chunk of an MCAP chunk record and checks it.
    pub(super) fn fill(&mut self, body: &[u8]) -> Result<(), DamageKind> {
        self.bytes.clear();
        self.at = 0;
        let Ok(McapRecord::Chunk { header, data }) = mcap::parse_record(op::CHUNK, body) else {
            return Err(DamageKind::Structure);
        };
        let length = usize::try_from(header.uncompressed_size).ok().filter(|&length| length <= MAX_CHUNK);
        let length = length.ok_or(DamageKind::TooLong(header.uncompressed_size))?;
        match header.compression.as_str() {
            "" => self.bytes.extend_from_slice(&data),
            "zstd" => self.decompress(&data, length).map_err(|_| DamageKind::Compression)?,
            other => return Err(DamageKind::UnknownCompression(other.chars().take(16).collect())),
        }
        if self.bytes.len() != length {
            return self.refuse(DamageKind::Compression);
        }
        if crc32fast::hash(&self.bytes) != header.uncompressed_crc {
            return self.refuse(DamageKind::Checksum);
        }
        Ok(())
    }

    /// At most one byte more than `length`, whatever the compressed bytes would become.
    fn decompress(&mut self, data: &[u8], length: usize) -> std::io::Result<()> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(data)?;
        decoder.window_log_max(MAX_CHUNK.ilog2() + 1)?;
        decoder.take(length as u64 + 1).read_to_end(&mut self.bytes)?;
        Ok(())
    }

    fn refuse(&mut self, kind: DamageKind) -> Result<(), DamageKind> {
        self.bytes.clear();
        Err(kind)
    }

    /// The next message; `None` at the end of the chunk.
    pub(super) fn next(&mut self) -> Option<Message> {
        loop {
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
            let Some((opcode, body, length)) = split_record(rest) else {
                self.at = self.bytes.len();
                return Some(Message::Damage(DamageKind::Structure));
            };
            self.at += length;
            if opcode == op::MESSAGE {
                return Some(match mcap::parse_record(opcode, body) {
                    Ok(McapRecord::Message { data, .. }) => read_message(&data),
                    _ => Message::Damage(DamageKind::Structure),
                });
            }
        }
    }
}

/// Opcode, body and length with both of the MCAP record at the beginning of `bytes`.
fn split_record(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&opcode, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    Some((opcode, rest.get(..length)?, 9 + length))
}

fn read_message(bytes: &[u8]) -> Message {
    let Some(key) = key_of(bytes) else { return Message::Damage(DamageKind::Structure) };
    let Some(topic) = Topic::ALL.into_iter().find(|topic| topic.as_str().as_bytes() == key) else {
        return Message::Unknown;
    };
    match Entry::decode(topic, bytes) {
        Ok(entry) => Message::Entry(entry),
        Err(_) => Message::Damage(DamageKind::Message(topic.as_str())),
    }
}

/// The one key of a MessagePack map: `0x81`, a short string.
fn key_of(bytes: &[u8]) -> Option<&[u8]> {
    let (&[0x81, string], rest) = bytes.split_first_chunk()? else { return None };
    let length = usize::from(string.checked_sub(0xa0).filter(|&length| length < 0x20)?);
    rest.get(..length)
}
