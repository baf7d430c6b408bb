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
//! is eleven little-endian `u64` words, a word for each named span, two for each value of a column, and then
//! its events of 12 bytes, padded to 8:
//!
//! | word | holds |
//! |---|---|
//! | 0 | number of events; of column values; of named spans (32, 16 and 16 bits from the lowest) |
//! | 1 | plan, repetition (upper, lower half) |
//! | 2 | lane, phase (16 bits each of the upper half), token |
//! | 3 | rows, context |
//! | 4 | sequence |
//! | 5 | job |
//! | 6, 7 | begin, end |
//! | 8 | clock (0 host; else device, calibrated by the method before that number), tick |
//! | 9 | device clock: offset to the host's |
//! | 10 | device clock: error of its place; all bits set if it has none |
//! | a span | its name's number (upper 8 bits), time |
//! | a value | quantity, event (all bits set for the whole batch); then the value as an `f64` |
//!
//! The consumer trusts nothing that it reads: the producer runs files from strangers. The memory is sealed
//! against shrinking, so that the producer cannot take pages away under the consumer.

#![expect(unsafe_code, reason = "memory shared between two processes")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use slmscope_profiles::clock::{Calibration, CalibrationMethod, ClockSource};
use slmscope_profiles::op::{BatchHead, ColumnQuantity, ColumnValue, OpBatch, OpEvent, Phase};
use slmscope_profiles::span::{NamedSpan, SpanName};

/// Bytes for records: some 470 tokens of a 30-layer model. The consumer looks 40 times a second.
const CAPACITY: usize = 2 << 20;
const DATA: usize = 4096;
const SIZE: usize = DATA + CAPACITY;
const MAGIC: u64 = 0x3167_6e69_722d_7373;
const HEAD: usize = 64;
const TAIL: usize = 128;
const LOST: usize = 192;
const WORDS: usize = 11;
/// Most spans of a record: each known name once.
const MAX_SPANS: usize = SpanName::KNOWN.len();
/// A span's time, below its name.
const SPAN_NS: u64 = (1 << 56) - 1;
const VALUE_BYTES: usize = 16;
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
        let words = bytes.as_chunks().0;
        let word = |index: usize| words.get(index).map_or(0, |word| u64::from_le_bytes(*word));
        let halves = |index: usize| ((word(index) >> 32) as u32, word(index) as u32);
        let counts = Counts::from_word(word(0));
        let length = counts.bytes().filter(|&length| length as u64 <= filled).ok_or(fail("counts"))?;
        let ((plan, repetition), (upper, token), (rows, context)) = (halves(1), halves(2), halves(3));
        let phase = u8::try_from(upper & 0xffff).ok().and_then(Phase::from_u8).ok_or(fail("phase"))?;
        let clock = clock_from(halves(8).0, word(9), word(10)).ok_or(fail("clock"))?;
        let head = BatchHead {
            job: word(5),
            plan,
            lane: (upper >> 16) as u16,
            repetition,
            phase,
            token,
            rows,
            context,
            seq: word(4),
            begin_ns: word(6),
            end_ns: word(7),
            tick_ns: halves(8).1,
            clock,
        };
        let mut at = tail + bytes.len() as u64;
        let mut section = |length: usize| {
            let mut bytes = vec![0; length];
            self.map.read(at, &mut bytes);
            at += length as u64;
            bytes
        };
        let spans = spans_from(&section(counts.spans * 8)).ok_or(fail("span"))?;
        let columns = columns_from(&section(counts.values * VALUE_BYTES)).ok_or(fail("column"))?;
        let events = events_from(&section(counts.events * EVENT_BYTES));
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
        let named =
            spans.iter().filter_map(|span| Some(u64::from(span.name.number()?) << 56 | span.ns.min(SPAN_NS)));
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
        words[..WORDS].copy_from_slice(&head_words(head, counts));
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
            put(&halves(quantity, value.event.unwrap_or(u32::MAX)).to_le_bytes());
            put(&value.value.to_le_bytes());
        }
        // SAFETY: an event is 12 bytes without padding, all of them initialised. Both ends run on one
        // machine, so its byte order is theirs; the only order that is supported is little-endian.
        put(unsafe { std::slice::from_raw_parts(events.as_ptr().cast::<u8>(), size_of_val(events)) });
        self.map.word(HEAD).store(written + length as u64, Ordering::Release);
    }
}

/// How much a record holds.
#[derive(Clone, Copy)]
struct Counts {
    events: usize,
    values: usize,
    spans: usize,
}

impl Counts {
    fn from_word(word: u64) -> Self {
        Self {
            events: word as u32 as usize,
            values: (word >> 32) as u16 as usize,
            spans: (word >> 48) as usize,
        }
    }

    fn word(self) -> u64 {
        self.events as u64 | (self.values as u64) << 32 | (self.spans as u64) << 48
    }

    /// Bytes of the record; `None` for counts that no ring can hold.
    fn bytes(self) -> Option<usize> {
        let fits = self.events <= CAPACITY / EVENT_BYTES
            && u16::try_from(self.values).is_ok()
            && self.spans <= MAX_SPANS;
        let events = || (self.events * EVENT_BYTES).next_multiple_of(8);
        fits.then(|| (WORDS + self.spans) * 8 + self.values * VALUE_BYTES + events())
    }
}

fn halves(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

fn head_words(head: &BatchHead, counts: Counts) -> [u64; WORDS] {
    let (clock, offset, error) = match &head.clock {
        ClockSource::Device { calibration } => {
            let known = CalibrationMethod::KNOWN.iter().position(|method| *method == calibration.method);
            let method = known.unwrap_or(CalibrationMethod::KNOWN.len() - 1);
            (1 + method as u32, calibration.offset_ns as u64, calibration.error_ns.unwrap_or(u64::MAX))
        }
        ClockSource::Host | ClockSource::Unknown => (0, 0, u64::MAX),
    };
    [
        counts.word(),
        halves(head.plan, head.repetition),
        halves(u32::from(head.lane) << 16 | head.phase as u32, head.token),
        halves(head.rows, head.context),
        head.seq,
        head.job,
        head.begin_ns,
        head.end_ns,
        halves(clock, head.tick_ns),
        offset,
        error,
    ]
}

/// The clock that has this number; `None` if none has.
fn clock_from(number: u32, offset: u64, error: u64) -> Option<ClockSource> {
    let Some(method) = number.checked_sub(1) else { return Some(ClockSource::Host) };
    let method = CalibrationMethod::KNOWN.get(method as usize)?.clone();
    let error_ns = (error != u64::MAX).then_some(error);
    Some(ClockSource::Device { calibration: Calibration { method, offset_ns: offset as i64, error_ns } })
}

/// `None` if a name has no such number, or comes twice.
fn spans_from(bytes: &[u8]) -> Option<Vec<NamedSpan>> {
    let mut spans: Vec<NamedSpan> = Vec::with_capacity(bytes.len() / 8);
    for word in bytes.as_chunks().0 {
        let word = u64::from_le_bytes(*word);
        let name = SpanName::from_number((word >> 56) as u8)?;
        if spans.iter().any(|span| span.name == name) {
            return None;
        }
        spans.push(NamedSpan { name, ns: word & SPAN_NS });
    }
    Some(spans)
}

/// `None` if a quantity has no such number, or a value is none.
fn columns_from(bytes: &[u8]) -> Option<Vec<ColumnValue>> {
    let pairs = bytes.as_chunks::<VALUE_BYTES>().0.iter();
    let value = |pair: &[u8; VALUE_BYTES]| {
        let words = pair.as_chunks().0;
        let (what, value) = (u64::from_le_bytes(*words.first()?), f64::from_le_bytes(*words.get(1)?));
        let quantity = ColumnQuantity::from_number((what >> 32) as u32)?;
        let event = Some(what as u32).filter(|&event| event != u32::MAX);
        value.is_finite().then_some(ColumnValue { event, quantity, value })
    };
    pairs.map(value).collect()
}

fn events_from(bytes: &[u8]) -> Vec<OpEvent> {
    let event = |bytes: &[u8; EVENT_BYTES]| {
        let [site0, site1, _, _, gap0, gap1, gap2, gap3, took0, took1, took2, took3] = *bytes;
        OpEvent {
            site: u16::from_le_bytes([site0, site1]),
            reserved: 0,
            gap: u32::from_le_bytes([gap0, gap1, gap2, gap3]),
            duration: u32::from_le_bytes([took0, took1, took2, took3]),
        }
    };
    bytes.as_chunks().0.iter().map(event).collect()
}

const _: () = assert!(cfg!(target_endian = "little"), "records are written in the machine's byte order");

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seq: u64, count: usize) -> OpBatch {
        OpBatch {
            head: BatchHead {
                job: 8,
                plan: 1,
                lane: 0,
                repetition: 2,
                phase: Phase::Decode,
                token: seq as u32,
                rows: 1,
                context: 9,
                seq,
                begin_ns: seq * 1_000,
                end_ns: seq * 1_000 + 999,
                tick_ns: 1,
                clock: ClockSource::Host,
            },
            spans: [(SpanName::Sample, 3), (SpanName::Wait, 4)]
                .map(|(name, ns)| NamedSpan { name, ns })
                .to_vec(),
            columns: Vec::new(),
            events: (0..count)
                .map(|i| OpEvent { site: i as u16, reserved: 0, gap: i as u32, duration: seq as u32 })
                .collect(),
        }
    }

    fn push(producer: &mut Producer, batch: &OpBatch) {
        producer.push(&batch.head, &batch.spans, &batch.columns, &batch.events);
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
            push(&mut producer, &sent);
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
            push(&mut producer, &batch);
        }
        let mut next = 0;
        while let Some(got) = consumer.next().unwrap() {
            assert_eq!(got, batch(next, 363));
            next += 1;
        }
        assert!(next > 400 && next < sent);
        assert_eq!(next + consumer.lost(), sent);
        let more = batch(sent, 5);
        push(&mut producer, &more);
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
        push(&mut producer, &sent);
        producer.map.write(0, &u64::MAX.to_le_bytes());
        assert!(consumer.next().is_err());
    }

    #[test]
    fn lanes_clocks_and_expert_counts_come_through() {
        let (mut consumer, mut producer) = pair();
        for seq in 0..30_000 {
            let mut sent = batch(seq, (seq % 90) as usize);
            let methods = CalibrationMethod::KNOWN;
            let method = methods[seq as usize % methods.len()].clone();
            let error_ns = (method != CalibrationMethod::Unplaced).then_some(seq);
            let calibration = Calibration { method, offset_ns: -(seq as i64), error_ns };
            (sent.head.lane, sent.head.clock) = (seq as u16, ClockSource::Device { calibration });
            sent.spans.truncate((seq % 3) as usize);
            let experts =
                |event| ColumnValue { event: Some(event), quantity: ColumnQuantity::Experts, value: 8.0 };
            sent.columns = (0..(seq % 70) as u32).map(experts).collect();
            sent.columns.push(ColumnValue { event: None, quantity: ColumnQuantity::BarrierWait, value: 0.5 });
            push(&mut producer, &sent);
            assert_eq!(consumer.next().unwrap(), Some(sent));
        }
        assert_eq!(consumer.lost(), 0);
    }

    #[test]
    fn what_has_no_number_is_left_out() {
        let (mut consumer, mut producer) = pair();
        let mut sent = batch(0, 2);
        sent.spans.push(NamedSpan { name: "dream".into(), ns: 7 });
        sent.columns = vec![ColumnValue { event: None, quantity: "joules".into(), value: 1.0 }];
        push(&mut producer, &sent);
        assert_eq!(consumer.next().unwrap(), Some(batch(0, 2)));
    }

    #[test]
    fn records_with_numbers_that_nothing_has_are_refused() {
        let (spans, values) = (WORDS as u64 * 8, WORDS as u64 * 8 + 2 * 8);
        let damages = [
            (2 * 8, u64::from(u32::MAX) << 32, "phase"),
            (8 * 8, halves(99, 1), "clock"),
            (spans, u64::MAX, "span"),
            // The second span has the name of the first.
            (spans + 8, 5, "span"),
            (values, u64::MAX, "column"),
            (values + 8, f64::NAN.to_bits(), "column"),
            (0, Counts { events: 2, values: 1, spans: 3 + MAX_SPANS }.word(), "counts"),
            (0, Counts { events: 20, values: 1, spans: 2 }.word(), "counts"),
            (0, Counts { events: 2, values: 9, spans: 2 }.word(), "counts"),
        ];
        for (at, word, what) in damages {
            let (mut consumer, mut producer) = pair();
            let mut sent = batch(0, 2);
            sent.columns = vec![ColumnValue { event: None, quantity: ColumnQuantity::Experts, value: 1.0 }];
            push(&mut producer, &sent);
            producer.map.write(at, &word.to_le_bytes());
            assert_eq!(consumer.next().unwrap_err().what, what, "byte {at}");
        }
    }

    #[test]
    fn both_ends_may_run_at_once() {
        let (mut consumer, mut producer) = pair();
        let sending = std::thread::spawn(move || {
            for seq in 0..50_000 {
                let batch = batch(seq, 50);
                push(&mut producer, &batch);
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
