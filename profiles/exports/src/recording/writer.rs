//! Writing a recording.

use std::collections::BTreeMap;
use std::io::Write;

use mcap::records::MessageHeader;
use mcap::write::NoSeek;
use mcap::{Compression, WriteOptions};

use super::{ENCODING, Entry, PROFILE, Topic};

/// A recording cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file takes no more: the disk is full, or it went away. What was flushed before can be read.
    #[error("cannot write the recording")]
    Io(#[source] std::io::Error),
    /// The container refused a message.
    #[error("cannot write the recording")]
    Container(#[source] mcap::McapError),
}

impl From<mcap::McapError> for WriteError {
    fn from(error: mcap::McapError) -> Self {
        match error {
            mcap::McapError::Io(error) => Self::Io(error),
            other => Self::Container(other),
        }
    }
}

/// Writes a recording. Messages are gathered in memory; [`flush`](Self::flush) appends them as one chunk, which a
/// reader has whole or not at all.
pub struct Writer<W: Write> {
    mcap: mcap::Writer<NoSeek<W>>,
    /// MCAP's channel number of each topic.
    channels: [u16; Topic::ALL.len()],
    /// Time of the last message that had one.
    last_ns: u64,
    sequence: u32,
    bytes: Vec<u8>,
    /// Bytes of messages since the last flush, uncompressed.
    unflushed: usize,
}

impl<W: Write> Writer<W> {
    /// Begins a recording at the beginning of `file`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn new(file: W) -> Result<Self, WriteError> {
        let options = WriteOptions::new()
            .profile(PROFILE)
            .library(concat!("slmscope ", env!("CARGO_PKG_VERSION")))
            .compression(Some(Compression::Zstd))
            // More gains 1 % and takes up to five times as long; threads would take cores from what is measured.
            .compression_level(1)
            .compression_threads(0)
            // A chunk is made in memory and appended in one go: a killed writer leaves no chunk half described.
            .disable_seeking(true)
            .emit_message_indexes(false);
        let mut mcap = mcap::Writer::with_options(NoSeek::new(file), options)?;
        let mut channels = [0; Topic::ALL.len()];
        for (channel, topic) in channels.iter_mut().zip(Topic::ALL) {
            *channel = mcap.add_channel(0, topic.as_str(), ENCODING, &BTreeMap::new())?;
        }
        Ok(Self { mcap, channels, last_ns: 0, sequence: 0, bytes: Vec::new(), unflushed: 0 })
    }

    /// Adds a message. It is in the file after the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// If the file cannot be written; the recording has ended then.
    pub fn write(&mut self, entry: &Entry) -> Result<(), WriteError> {
        self.last_ns = entry.t_ns().unwrap_or(self.last_ns);
        entry.encode(&mut self.bytes);
        let header = MessageHeader {
            channel_id: self.channels[entry.topic() as usize],
            sequence: self.sequence,
            log_time: self.last_ns,
            publish_time: self.last_ns,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.mcap.write_to_known_channel(&header, &self.bytes)?;
        self.unflushed += self.bytes.len();
        Ok(())
    }

    /// Bytes of messages that a crash now would lose, uncompressed.
    pub fn unflushed(&self) -> usize {
        self.unflushed
    }

    /// Appends what was written since the last time, as one chunk.
    ///
    /// # Errors
    /// If the file cannot be written; the recording has ended then.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        if self.unflushed > 0 {
            self.mcap.flush()?;
            self.unflushed = 0;
        }
        Ok(())
    }

    /// Ends the recording with its index, and returns the file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.mcap.finish()?;
        Ok(self.mcap.into_inner().into_inner())
    }
}
