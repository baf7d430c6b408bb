//! The ring through which op batches leave the worker: shared memory, one producer, one consumer.
//!
//! The producer never waits, wakes nobody and makes no system call; a batch that does not fit is dropped
//! whole and counted. The consumer looks now and then.
//!
//! ```text
//! byte 0    64        128       192       4096                      4096 + CAPACITY
//! | magic   | head    | tail    | lost    | records, wrapping around |
//! ```
//!
//! `head` and `tail` are bytes written and read since the start; each has a cache line of its own. `record` has
//! the layout of a record.
//!
//! The consumer trusts nothing that it reads: the producer runs files from strangers. The memory is sealed
//! against shrinking, so that the producer cannot take pages away under the consumer.

#![expect(unsafe_code, reason = "memory shared between two processes")]

mod record;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use slmscope_profiles::op::{BatchHead, ColumnValue, OpBatch, OpEvent};
use slmscope_profiles::span::NamedSpan;

use record::{Counts, EVENT_BYTES, MAX_SPANS, VALUE_BYTES, WORDS};

/// Bytes for records: some 470 tokens of a 30-layer model. The consumer looks 20 times a second.
const CAPACITY: usize = 2 << 20;
const DATA: usize = 4096;
const SIZE: usize = DATA + CAPACITY;
const MAGIC: u64 = 0x3167_6e69_722d_7373;
const HEAD: usize = 64;
const TAIL: usize = 128;
const LOST: usize = 192;

/// The shared memory, mapped.
struct Mapping {
    base: *mut u8,
}

// SAFETY: the mapping is plain memory that lives until `drop`; all access goes through atomics, or copies
// ranges that `head` and `tail` give to one side alone.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(memory: BorrowedFd<'_>) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // All pages now, so that no token pays for one.
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new shared mapping at an address of the kernel's choice; `SIZE` bytes exist, which the
        // callers have checked or set.
        let base = unsafe { mmap(std::ptr::null_mut(), SIZE, access, flags, memory, 0)? };
        Ok(Self { base: base.cast() })
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: `at` is one of this module's constants: 8-aligned and inside the first page.
        unsafe { &*self.base.add(at).cast() }
    }

    /// Copies between `bytes` and the record area at position `at` (bytes since the start), around its end.
    fn ranges(at: u64, length: usize) -> [(usize, usize); 2] {
        let start = (at % CAPACITY as u64) as usize;
        let first = length.min(CAPACITY - start);
        [(DATA + start, first), (DATA, length - first)]
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let mut rest = bytes;
        for (offset, length) in Self::ranges(at, bytes.len()) {
            let (part, after) = rest.split_at(length);
            // SAFETY: `ranges` stays inside the record area; the consumer does not read beyond `head`.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), self.base.add(offset), length) };
            rest = after;
        }
    }

    fn read(&self, at: u64, bytes: &mut [u8]) {
        let mut rest = bytes;
        for (offset, length) in Self::ranges(at, rest.len()) {
            let (part, after) = rest.split_at_mut(length);
            // SAFETY: `ranges` stays inside the record area. An honest producer does not write between
            // `tail` and `head`; a dishonest one makes wrong numbers, which is all it can do.
            unsafe { std::ptr::copy_nonoverlapping(self.base.add(offset), part.as_mut_ptr(), length) };
            rest = after;
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size, unmapped once.
        let _ = unsafe { munmap(self.base.cast(), SIZE) };
    }
}

/// The daemon's end.
pub struct Consumer {
    map: Mapping,
    memory: OwnedFd,
    /// Bytes read; kept here because the producer could change the shared word.
    tail: u64,
}

/// The worker's end.
pub struct Producer {
    map: Mapping,
}

/// A record that no honest producer writes.
#[derive(Debug, thiserror::Error)]
#[error("the worker wrote a damaged record ({what}) at byte {at} of its ring")]
pub struct Damaged {
    /// Bytes since the start.
    pub at: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Consumer {
    /// Makes the shared memory.
    ///
    /// # Errors
    /// If the kernel gives no memory.
    pub fn create() -> io::Result<Self> {
        let memory = memfd_create("slmscope-ops", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, SIZE as u64)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let map = Mapping::new(memory.as_fd())?;
        map.word(0).store(MAGIC, Ordering::Release);
        Ok(Self { map, memory, tail: 0 })
    }

    /// What the worker needs to open its end.
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Batches that did not fit, so far.
    pub fn lost(&self) -> u64 {
        self.map.word(LOST).load(Ordering::Relaxed)
    }

    /// The next batch; `None` if there is none yet.
    ///
    /// # Errors
    /// [`Damaged`]: the ring cannot be read any further.
    pub fn next(&mut self) -> Result<Option<OpBatch>, Damaged> {
        let tail = self.tail;
        let head = self.map.word(HEAD).load(Ordering::Acquire);
        let filled = head.wrapping_sub(tail);
        if filled == 0 {
            return Ok(None);
        }
        let fail = |what| Damaged { at: tail, what };
        let mut bytes = [0; WORDS * 8];
        if filled > CAPACITY as u64 || filled < bytes.len() as u64 {
            return Err(fail("length"));
        }
        self.map.read(tail, &mut bytes);
        let (head, counts) = record::head_from(&bytes).map_err(fail)?;
        let length = counts.bytes().filter(|&length| length as u64 <= filled).ok_or(fail("counts"))?;
        let mut at = tail + bytes.len() as u64;
        let mut section = |length: usize| {
            let mut bytes = vec![0; length];
            self.map.read(at, &mut bytes);
            at += length as u64;
            bytes
        };
        let spans = record::spans_from(&section(counts.spans * 8)).ok_or(fail("span"))?;
        let columns = record::columns_from(&section(counts.values * VALUE_BYTES)).ok_or(fail("column"))?;
        let events = record::events_from(&section(counts.events * EVENT_BYTES));
        self.tail += length as u64;
        self.map.word(TAIL).store(self.tail, Ordering::Release);
        Ok(Some(OpBatch { head, spans, columns, events }))
    }
}

impl Producer {
    /// Opens the worker's end of a ring that [`Consumer::create`] made.
    ///
    /// # Errors
    /// If the memory has another size or was not made by it.
    pub fn open(memory: &OwnedFd) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not an op ring of this build");
        if rustix::fs::fstat(memory)?.st_size as usize != SIZE {
            return Err(wrong());
        }
        let map = Mapping::new(memory.as_fd())?;
        if map.word(0).load(Ordering::Acquire) != MAGIC {
            return Err(wrong());
        }
        Ok(Self { map })
    }

    /// Writes a batch, or drops and counts it if there is no room. Spans and values whose name or quantity has no
    /// number are left out.
    pub fn push(
        &mut self,
        head: &BatchHead,
        spans: &[NamedSpan],
        columns: &[ColumnValue],
        events: &[OpEvent],
    ) {
        let written = self.map.word(HEAD).load(Ordering::Relaxed);
        let read = self.map.word(TAIL).load(Ordering::Acquire);
        let free = CAPACITY as u64 - (written - read);
        let mut words = [0_u64; WORDS + MAX_SPANS];
        let named = spans.iter().filter_map(record::span_word);
        let mut spans = 0;
        for (slot, word) in words[WORDS..].iter_mut().zip(named) {
            *slot = word;
            spans += 1;
        }
        let values = columns.iter().filter(|value| value.quantity.number().is_some()).count();
        let counts = Counts { events: events.len(), values, spans };
        let Some(length) = counts.bytes().filter(|&length| length as u64 <= free) else {
            self.map.word(LOST).fetch_add(1, Ordering::Relaxed);
            return;
        };
        words[..WORDS].copy_from_slice(&record::head_words(head, counts));
        let mut bytes = [0; (WORDS + MAX_SPANS) * 8];
        for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let mut at = written;
        let mut put = |bytes: &[u8]| {
            self.map.write(at, bytes);
            at += bytes.len() as u64;
        };
        put(&bytes[..(WORDS + spans) * 8]);
        for value in columns {
            let Some(quantity) = value.quantity.number() else { continue };
            put(&record::halves(quantity, value.event.unwrap_or(u32::MAX)).to_le_bytes());
            put(&value.value.to_le_bytes());
        }
        // SAFETY: an event is 12 bytes without padding, all of them initialised. Both ends run on one
        // machine, so its byte order is theirs; the only order that is supported is little-endian.
        put(unsafe { std::slice::from_raw_parts(events.as_ptr().cast::<u8>(), size_of_val(events)) });
        self.map.word(HEAD).store(written + length as u64, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
