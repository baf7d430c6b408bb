//! The layout of a record in the ring: eleven little-endian `u64` words, a word for each named span, two for each value of a
//! column, and then its events of 12 bytes, padded to 8.
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

use slmscope_profiles::clock::{Calibration, CalibrationMethod, ClockSource};
use slmscope_profiles::op::{BatchHead, ColumnQuantity, ColumnValue, OpEvent, Phase};
use slmscope_profiles::span::{NamedSpan, SpanName};

use super::CAPACITY;

/// Words that a record begins with.
pub(super) const WORDS: usize = 11;
/// Most spans of a record: each known name once.
pub(super) const MAX_SPANS: usize = SpanName::KNOWN.len();
/// A span's time, below its name.
const SPAN_NS: u64 = (1 << 56) - 1;
/// Bytes of one value of a column.
pub(super) const VALUE_BYTES: usize = 16;
/// Bytes of an event.
pub(super) const EVENT_BYTES: usize = size_of::<OpEvent>();

/// How much a record holds.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) events: usize,
    pub(super) values: usize,
    pub(super) spans: usize,
}

impl Counts {
    fn from_word(word: u64) -> Self {
        Self {
            events: word as u32 as usize,
            values: (word >> 32) as u16 as usize,
            spans: (word >> 48) as usize,
        }
    }

    pub(super) fn word(self) -> u64 {
        self.events as u64 | (self.values as u64) << 32 | (self.spans as u64) << 48
    }

    /// Bytes of the record; `None` for counts that no ring can hold.
    pub(super) fn bytes(self) -> Option<usize> {
        let fits = self.events <= CAPACITY / EVENT_BYTES
            && u16::try_from(self.values).is_ok()
            && self.spans <= MAX_SPANS;
        let events = || (self.events * EVENT_BYTES).next_multiple_of(8);
        fits.then(|| (WORDS + self.spans) * 8 + self.values * VALUE_BYTES + events())
    }
}

/// Two numbers in a word.
pub(super) fn halves(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

/// The words that a record begins with.
pub(super) fn head_words(head: &BatchHead, counts: Counts) -> [u64; WORDS] {
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

/// Reads the words that a record begins with: what its events share, and how much it holds; else which of them is wrong.
pub(super) fn head_from(bytes: &[u8; WORDS * 8]) -> Result<(BatchHead, Counts), &'static str> {
    let words = bytes.as_chunks().0;
    let word = |index: usize| words.get(index).map_or(0, |word| u64::from_le_bytes(*word));
    let halves = |index: usize| ((word(index) >> 32) as u32, word(index) as u32);
    let ((plan, repetition), (upper, token), (rows, context)) = (halves(1), halves(2), halves(3));
    let head = BatchHead {
        job: word(5),
        plan,
        lane: (upper >> 16) as u16,
        repetition,
        phase: u8::try_from(upper & 0xffff).ok().and_then(Phase::from_u8).ok_or("phase")?,
        token,
        rows,
        context,
        seq: word(4),
        begin_ns: word(6),
        end_ns: word(7),
        tick_ns: halves(8).1,
        clock: clock_from(halves(8).0, word(9), word(10)).ok_or("clock")?,
    };
    Ok((head, Counts::from_word(word(0))))
}

/// A named span in a word; `None` if its name has no number.
pub(super) fn span_word(span: &NamedSpan) -> Option<u64> {
    Some(u64::from(span.name.number()?) << 56 | span.ns.min(SPAN_NS))
}

/// The clock that has this number; `None` if none has.
fn clock_from(number: u32, offset: u64, error: u64) -> Option<ClockSource> {
    let Some(method) = number.checked_sub(1) else { return Some(ClockSource::Host) };
    let method = CalibrationMethod::KNOWN.get(method as usize)?.clone();
    let error_ns = (error != u64::MAX).then_some(error);
    Some(ClockSource::Device { calibration: Calibration { method, offset_ns: offset as i64, error_ns } })
}

/// Named spans; `None` if a name has no such number, or comes twice.
pub(super) fn spans_from(bytes: &[u8]) -> Option<Vec<NamedSpan>> {
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

/// Values of columns; `None` if a quantity has no such number, or a value is not finite.
pub(super) fn columns_from(bytes: &[u8]) -> Option<Vec<ColumnValue>> {
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

/// Events as they lie in the ring.
pub(super) fn events_from(bytes: &[u8]) -> Vec<OpEvent> {
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
