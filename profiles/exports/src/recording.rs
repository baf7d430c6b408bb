//! Recordings: the records of a session in one file.
//!
//! The container is MCAP (<https://mcap.dev/spec>), which keeps what was written when the writer is killed and has
//! readers in many languages. A message holds exactly what the socket carries: a MessagePack map with one key, which
//! names its kind. The topic of a message is that key, so readers of other languages can choose by topic.
//!
//! ```text
//! magic  Header  Chunk  Chunk  Chunk ...  DataEnd  summary  Footer  magic
//!                └─────┬──────────────┘   └──────────┬────────────────┘
//!          zstd, a CRC each, made in memory   only after a clean end; readers do
//!          and appended whole every 200 ms    without when the writer was killed
//! ```
//!
//! | topic | message | time of the message |
//! |---|---|---|
//! | `header`, `catalogue`, `plan`, `span`, `sample`, `ops`, `loss`, `mark` | a [`Record`] | of the record |
//! | `job` | the [`Job`] as it was asked for, and again when it ended | of the record before |
//! | `result` | the [`RunResult`] | of the record before |
//!
//! All times are CLOCK_MONOTONIC in ns; the header record ties them to the wall clock.
//!
//! ```
//! use slmscope_exports::recording::{Entry, Event, Reader, Writer};
//! use slmscope_profiles::record::{Mark, MarkKind, Record};
//!
//! let mark = Mark { t_ns: 5, job: 1, kind: MarkKind::JobState, text: None };
//! let entry = Entry::Record(Record::Mark(mark).into());
//! let mut writer = Writer::new(Vec::new()).unwrap();
//! writer.write(&entry).unwrap();
//! let file = writer.finish().unwrap();
//!
//! let mut reader = Reader::new(&file[..]).unwrap();
//! assert_eq!(reader.next().unwrap().unwrap(), Event::Entry(entry));
//! assert!(reader.next().is_none());
//! assert!(reader.end().is_complete);
//! ```

mod chunk;
mod entry;
mod reader;
mod writer;

pub use chunk::{Damage, DamageKind};
pub use entry::{Entry, Topic};
pub use reader::{End, Event, OpenError, Reader};
pub use writer::{WriteError, Writer};

use slmscope_profiles::wire::codec::MAX_MESSAGE;

#[cfg(doc)]
use slmscope_profiles::{job::Job, record::Record, result::RunResult};

/// The profile in the MCAP header, by which a recording is known from other MCAP files. New kinds of messages and new
/// fields leave it alone; a layout that an older reader would misread would be called `slmscope-2`.
pub const PROFILE: &str = "slmscope";

/// The encoding of messages, as MCAP's registry of encodings spells it.
const ENCODING: &str = "msgpack";

/// Longest MCAP record and largest decompressed chunk that is read, bytes; a greater length is damage. A chunk that we
/// write holds 1 MiB and at most one message more.
const MAX_CHUNK: usize = (1 << 20) + 2 * MAX_MESSAGE;
