//! Reading a recording, also one that is damaged, cut, or still being written.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use mcap::MAGIC;
use mcap::records::{Record as McapRecord, op};

use super::chunk::{Chunk, Message};
use super::{Damage, DamageKind, Entry, MAX_CHUNK, PROFILE};

/// A file is no recording that can be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It has no bytes.
    #[error("the file is empty: nothing was written into it")]
    Empty,
    /// It does not begin as MCAP does.
    #[error("not a recording: it does not begin with the bytes of an MCAP file")]
    NotMcap,
    /// Another program's MCAP file.
    #[error("an MCAP file, but not a recording of slmscope: its profile is {0:?}")]
    Foreign(String),
    /// Written in a layout that this build would misread.
    #[error(
        "a recording in the newer layout {0:?}: read it with the version of slmscope that wrote it, or a newer one"
    )]
    Newer(String),
    /// It ends before its header does.
    #[error("the file ends within its header")]
    NoHeader,
    /// It cannot be read.
    #[error("cannot read the recording")]
    Io(#[from] io::Error),
}

/// What a reader finds.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message.
    Entry(Entry),
    /// A part that cannot be read; reading goes on behind it.
    Damage(Damage),
}

/// How a file ended, as far as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// Whether the writer ended the file: it has its footer.
    pub is_complete: bool,
    /// Bytes up to which the file is whole.
    pub offset: u64,
    /// Messages of kinds that this build does not know.
    pub unknown: u64,
    /// Parts that cannot be read.
    pub damaged: u64,
}

/// Reads a recording from its beginning, as an iterator of [`Event`]s; an item is an error only if the file itself
/// cannot be read. Memory stays below three of the longest chunks that are accepted, whatever the file says.
pub struct Reader<R> {
    file: BufReader<R>,
    /// Body of the MCAP record at hand; one buffer for all.
    body: Vec<u8>,
    chunk: Chunk,
    /// Where the chunk at hand begins.
    chunk_offset: u64,
    end: End,
    state: State,
}

/// How far a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the file.
    Reading,
    /// Behind all that is whole of a file without a footer: more may be written.
    AtEnd,
    /// Behind what nothing can follow.
    Over,
}

/// What follows in the file.
enum Step {
    /// A whole MCAP record with this opcode, whose body is in the buffer.
    Record(u8),
    /// Nothing that is whole.
    End,
    /// What no record begins with: where the next one begins is not known.
    Lost(DamageKind),
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If it is no recording, or one in a newer layout.
    pub fn new(file: R) -> Result<Self, OpenError> {
        let mut reader = Self {
            file: BufReader::with_capacity(64 << 10, file),
            body: Vec::new(),
            chunk: Chunk::default(),
            chunk_offset: 0,
            end: End::default(),
            state: State::Reading,
        };
        reader.read_magic()?;
        reader.read_header()?;
        Ok(reader)
    }

    /// How the file ended, as far as it was read; final once the iterator has ended.
    pub fn end(&self) -> End {
        self.end
    }

    fn read_magic(&mut self) -> Result<(), OpenError> {
        let begin = self.take(MAGIC.len() as u64)?;
        if begin.is_empty() {
            return Err(OpenError::Empty);
        }
        if begin != MAGIC {
            return Err(if MAGIC.starts_with(begin) { OpenError::NoHeader } else { OpenError::NotMcap });
        }
        self.end.offset = MAGIC.len() as u64;
        Ok(())
    }

    fn read_header(&mut self) -> Result<(), OpenError> {
        match self.step()? {
            Step::Record(op::HEADER) => {}
            Step::End => return Err(OpenError::NoHeader),
            Step::Record(_) | Step::Lost(_) => return Err(OpenError::NotMcap),
        }
        let Ok(McapRecord::Header(header)) = mcap::parse_record(op::HEADER, &self.body) else {
            return Err(OpenError::NotMcap);
        };
        let profile = || header.profile.chars().take(40).collect();
        match header.profile.strip_prefix(PROFILE) {
            Some("") => Ok(()),
            Some(version) if version.starts_with('-') => Err(OpenError::Newer(profile())),
            _ => Err(OpenError::Foreign(profile())),
        }
    }

    /// At most so many of the next bytes. Memory grows with what is there, so that a length in the file costs nothing.
    fn take(&mut self, length: u64) -> io::Result<&[u8]> {
        self.body.clear();
        self.file.by_ref().take(length).read_to_end(&mut self.body)?;
        Ok(&self.body)
    }

    /// Reads the next MCAP record.
    fn step(&mut self) -> io::Result<Step> {
        let Ok(head) = <[u8; 9]>::try_from(self.take(9)?) else { return Ok(Step::End) };
        if head == [0; 9] {
            return Ok(Step::Lost(DamageKind::Zeros));
        }
        let length = u64::from_le_bytes(head[1..].try_into().expect("8 of 9 bytes"));
        if length > MAX_CHUNK as u64 {
            return Ok(Step::Lost(DamageKind::TooLong(length)));
        }
        if (self.take(length)?.len() as u64) < length {
            return Ok(Step::End);
        }
        self.end.offset += 9 + length;
        Ok(Step::Record(head[0]))
    }

    /// Goes on to the next chunk; damage if there is some first, `None` at the end of the file.
    fn next_chunk(&mut self) -> io::Result<Option<Result<(), DamageKind>>> {
        loop {
            self.chunk_offset = self.end.offset;
            match self.step()? {
                Step::Record(op::CHUNK) => return Ok(Some(self.chunk.fill(&self.body))),
                Step::Record(op::FOOTER) => {
                    self.end.is_complete = true;
                    self.state = State::Over;
                    return Ok(None);
                }
                // Indexes and statistics repeat what chunks say; private records are another program's.
                Step::Record(op::SCHEMA..=op::DATA_END | 0x80..) => {}
                Step::Record(_) => return Ok(Some(Err(DamageKind::Structure))),
                Step::Lost(kind) => {
                    self.state = State::Over;
                    return Ok(Some(Err(kind)));
                }
                Step::End => {
                    self.state = State::AtEnd;
                    return Ok(None);
                }
            }
        }
    }

    fn damage(&mut self, kind: DamageKind) -> Event {
        self.end.damaged += 1;
        Event::Damage(Damage { offset: self.chunk_offset, kind })
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Begins again, with the header.
    ///
    /// # Errors
    /// If the file is no longer what it was.
    pub fn rewind(&mut self) -> Result<(), OpenError> {
        self.file.rewind()?;
        self.chunk = Chunk::default();
        (self.chunk_offset, self.end, self.state) = (0, End::default(), State::Reading);
        self.read_magic()?;
        self.read_header()
    }

    /// Goes on with what was written behind the last whole part since the iterator ended. Does nothing if it has not
    /// ended, or nothing can follow: the recording has its footer, or damage behind which no part is found.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn resume(&mut self) -> io::Result<()> {
        if self.state == State::AtEnd {
            // A part that is written at this moment was read as far as it went.
            self.file.seek(SeekFrom::Start(self.end.offset))?;
            self.state = State::Reading;
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.chunk.next() {
                Some(Message::Entry(entry)) => return Some(Ok(Event::Entry(entry))),
                Some(Message::Unknown) => self.end.unknown += 1,
                Some(Message::Damage(kind)) => return Some(Ok(self.damage(kind))),
                None if self.state != State::Reading => return None,
                None => match self.next_chunk() {
                    Ok(Some(Ok(())) | None) => {}
                    Ok(Some(Err(kind))) => return Some(Ok(self.damage(kind))),
                    Err(error) => {
                        self.state = State::Over;
                        return Some(Err(error));
                    }
                },
            }
        }
    }
}
