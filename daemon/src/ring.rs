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
//! `head` and `tail` are bytes written and read since the start; each has a cache line of its own. A record
//! is ten little-endian `u64` words and then its events of 12 bytes, padded to 8:
//!
//! | word | holds |
//! |---|---|
//! | 0 | number of events |
//! | 1 | plan, run (upper, lower half) |
//! | 2 | phase, token |
//! | 3 | rows, context |
//! | 4 | sequence |
//! | 5, 6 | begin, end |
//! | 7 | tick |
//! | 8, 9 | time in named spans |
//!
//! The consumer trusts nothing that it reads: the producer runs files from strangers. The memory is sealed
//! against shrinking, so that the producer cannot take pages away under the consumer.

#![expect(unsafe_code, reason = "memory shared between two processes")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use slmscope_profiles::op::{BatchHead, OpBatch, OpEvent, Phase};

/// Bytes for records: some 470 tokens of a 30-layer model. The consumer looks 40 times a second.
const CAPACITY: usize = 2 << 20;
const DATA: usize = 4096;
const SIZE: usize = DATA + CAPACITY;
const MAGIC: u64 = 0x3167_6e69_722d_7373;
const HEAD: usize = 64;
const TAIL: usize = 128;
const LOST: usize = 192;
const WORDS: usize = 10;
const EVENT_BYTES: usize = size_of::<OpEvent>();

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
        let word = |index: usize| {
            u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().expect("eight bytes of the array"))
        };
        let halves = |index: usize| ((word(index) >> 32) as u32, word(index) as u32);
        let count = word(0) as usize;
        let length =
            record_bytes(count).filter(|&length| length as u64 <= filled).ok_or(fail("event count"))?;
        let ((plan, repetition), (phase, token), (rows, context)) = (halves(1), halves(2), halves(3));
        let phase = u8::try_from(phase).ok().and_then(Phase::from_u8).ok_or(fail("phase"))?;
        let mut events = vec![0; count * EVENT_BYTES];
        self.map.read(tail + bytes.len() as u64, &mut events);
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes of an event"));
        let events = events
            .chunks_exact(EVENT_BYTES)
            .map(|event| OpEvent {
                site: u16::from_le_bytes([event[0], event[1]]),
                reserved: 0,
                gap: number(&event[4..8]),
                duration: number(&event[8..12]),
            })
            .collect();
        self.tail += length as u64;
        self.map.word(TAIL).store(self.tail, Ordering::Release);
        let head = BatchHead {
            plan,
            repetition,
            phase,
            token,
            rows,
            context,
            seq: word(4),
            begin_ns: word(5),
            end_ns: word(6),
            tick_ns: word(7) as u32,
            other_ns: [word(8), word(9)],
        };
        Ok(Some(OpBatch { head, events }))
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

    /// Writes a batch, or drops and counts it if there is no room.
    pub fn push(&mut self, head: &BatchHead, events: &[OpEvent]) {
        let written = self.map.word(HEAD).load(Ordering::Relaxed);
        let read = self.map.word(TAIL).load(Ordering::Acquire);
        let free = CAPACITY as u64 - (written - read);
        let Some(length) = record_bytes(events.len()).filter(|&length| length as u64 <= free) else {
            self.map.word(LOST).fetch_add(1, Ordering::Relaxed);
            return;
        };
        let halves = |upper: u32, lower: u32| u64::from(upper) << 32 | u64::from(lower);
        let words = [
            events.len() as u64,
            halves(head.plan, head.repetition),
            halves(head.phase as u32, head.token),
            halves(head.rows, head.context),
            head.seq,
            head.begin_ns,
            head.end_ns,
            u64::from(head.tick_ns),
            head.other_ns[0],
            head.other_ns[1],
        ];
        let mut bytes = [0; WORDS * 8];
        for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        self.map.write(written, &bytes);
        // SAFETY: an event is 12 bytes without padding, all of them initialised. Both ends run on one
        // machine, so its byte order is theirs; the only order that is supported is little-endian.
        let events = unsafe { std::slice::from_raw_parts(events.as_ptr().cast::<u8>(), size_of_val(events)) };
        self.map.write(written + bytes.len() as u64, events);
        self.map.word(HEAD).store(written + length as u64, Ordering::Release);
    }
}

/// Bytes of a record; `None` for counts that no ring can hold.
fn record_bytes(events: usize) -> Option<usize> {
    (events <= CAPACITY / EVENT_BYTES).then(|| WORDS * 8 + (events * EVENT_BYTES).next_multiple_of(8))
}

const _: () = assert!(cfg!(target_endian = "little"), "records are written in the machine's byte order");

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seq: u64, count: usize) -> OpBatch {
        OpBatch {
            head: BatchHead {
                plan: 1,
                repetition: 2,
                phase: Phase::Decode,
                token: seq as u32,
                rows: 1,
                context: 9,
                seq,
                begin_ns: seq * 1_000,
                end_ns: seq * 1_000 + 999,
                tick_ns: 1,
                other_ns: [3, 4],
            },
            events: (0..count)
                .map(|i| OpEvent { site: i as u16, reserved: 0, gap: i as u32, duration: seq as u32 })
                .collect(),
        }
    }

    fn pair() -> (Consumer, Producer) {
        let consumer = Consumer::create().unwrap();
        let producer = Producer::open(&consumer.memory.try_clone().unwrap()).unwrap();
        (consumer, producer)
    }

    #[test]
    fn batches_come_out_as_they_went_in_many_times_around() {
        let (mut consumer, mut producer) = pair();
        for seq in 0..20_000 {
            let sent = batch(seq, (seq % 700) as usize);
            producer.push(&sent.head, &sent.events);
            assert_eq!(consumer.next().unwrap(), Some(sent));
        }
        assert_eq!(consumer.next().unwrap(), None);
        assert_eq!(consumer.lost(), 0);
    }

    #[test]
    fn a_full_ring_drops_whole_batches_and_counts_them() {
        let (mut consumer, mut producer) = pair();
        let sent = 6_000;
        for seq in 0..sent {
            let batch = batch(seq, 363);
            producer.push(&batch.head, &batch.events);
        }
        let mut next = 0;
        while let Some(got) = consumer.next().unwrap() {
            assert_eq!(got, batch(next, 363));
            next += 1;
        }
        assert!(next > 400 && next < sent);
        assert_eq!(next + consumer.lost(), sent);
        let more = batch(sent, 5);
        producer.push(&more.head, &more.events);
        assert_eq!(consumer.next().unwrap(), Some(more));
    }

    #[test]
    fn a_lying_producer_is_refused() {
        for (at, value) in [(HEAD, u64::MAX), (HEAD, 8), (HEAD, (CAPACITY as u64) + 1)] {
            let (mut consumer, producer) = pair();
            producer.map.word(at).store(value, Ordering::Release);
            assert!(consumer.next().is_err(), "{value}");
        }
        let (mut consumer, mut producer) = pair();
        let sent = batch(0, 2);
        producer.push(&sent.head, &sent.events);
        producer.map.write(0, &u64::MAX.to_le_bytes());
        assert!(consumer.next().is_err());
    }

    #[test]
    fn both_ends_may_run_at_once() {
        let (mut consumer, mut producer) = pair();
        let sending = std::thread::spawn(move || {
            for seq in 0..50_000 {
                let batch = batch(seq, 50);
                producer.push(&batch.head, &batch.events);
            }
        });
        let (mut received, mut last) = (0, None);
        while received + consumer.lost() < 50_000 {
            if let Some(got) = consumer.next().unwrap() {
                assert!(last < Some(got.head.seq));
                assert_eq!(got, batch(got.head.seq, 50));
                last = Some(got.head.seq);
                received += 1;
            }
        }
        sending.join().unwrap();
    }
}
