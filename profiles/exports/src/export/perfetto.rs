//! Perfetto's protobuf (<https://perfetto.dev/docs/reference/synthetic-track-event>).
//!
//! One packet sequence. Names are sent once and referred to by number. Times are differences on a clock of the
//! sequence; what would go back in time has CLOCK_MONOTONIC. A snapshot ties both to CLOCK_BOOTTIME and the wall clock,
//! so that the trace can be shown beside one of the system.
//!
//! A slice is a begin and an end. The end is written when the next slice of its track begins behind it.

use std::io::{self, BufWriter, Write};

use slmscope_profiles::record::Header;

use super::names::Names;
use super::proto::{bytes, double, fixed64, integer, nested};
use super::timeline::{Arg, Flow, Key, Slice, TraceWriter, Track, TrackId, TrackKind};

/// Added to the numbers of tracks, so that they are no others' in a trace that several programs wrote.
const FIRST_UUID: u64 = 0x5c0e_0000;

const CLOCK_REALTIME: u64 = 1;
const CLOCK_MONOTONIC: u64 = 3;
const CLOCK_BOOTTIME: u64 = 6;
/// The clock of differences; numbers from 64 on are the sequence's own.
const CLOCK_SEQUENCE: u64 = 64;

/// The fields of Perfetto's messages that are written.
mod field {
    pub const TRACE_PACKET: u32 = 1;

    pub const PACKET_CLOCK_SNAPSHOT: u32 = 6;
    pub const PACKET_TIMESTAMP: u32 = 8;
    pub const PACKET_SEQUENCE_ID: u32 = 10;
    pub const PACKET_TRACK_EVENT: u32 = 11;
    pub const PACKET_INTERNED_DATA: u32 = 12;
    pub const PACKET_SEQUENCE_FLAGS: u32 = 13;
    pub const PACKET_TIMESTAMP_CLOCK: u32 = 58;
    pub const PACKET_DEFAULTS: u32 = 59;
    pub const PACKET_TRACK_DESCRIPTOR: u32 = 60;

    pub const EVENT_CATEGORY_IIDS: u32 = 3;
    pub const EVENT_DEBUG_ANNOTATIONS: u32 = 4;
    pub const EVENT_TYPE: u32 = 9;
    pub const EVENT_NAME_IID: u32 = 10;
    pub const EVENT_TRACK_UUID: u32 = 11;
    pub const EVENT_NAME: u32 = 23;
    pub const EVENT_DOUBLE_COUNTER: u32 = 44;
    pub const EVENT_FLOW_IDS: u32 = 47;
    pub const EVENT_TERMINATING_FLOW_IDS: u32 = 48;

    pub const ANNOTATION_NAME_IID: u32 = 1;
    pub const ANNOTATION_UINT: u32 = 3;
    pub const ANNOTATION_STRING_IID: u32 = 17;

    pub const INTERNED_CATEGORIES: u32 = 1;
    pub const INTERNED_NAMES: u32 = 2;
    pub const INTERNED_ANNOTATION_NAMES: u32 = 3;
    pub const INTERNED_ANNOTATION_STRINGS: u32 = 29;

    pub const TRACK_UUID: u32 = 1;
    pub const TRACK_NAME: u32 = 2;
    pub const TRACK_PROCESS: u32 = 3;
    pub const TRACK_PARENT: u32 = 5;
    pub const TRACK_COUNTER: u32 = 8;
    pub const TRACK_CHILD_ORDERING: u32 = 11;
    pub const TRACK_RANK: u32 = 12;

    pub const PROCESS_PID: u32 = 1;
    pub const PROCESS_NAME: u32 = 6;
    pub const COUNTER_UNIT_NAME: u32 = 6;
}

const TYPE_BEGIN: u64 = 1;
const TYPE_END: u64 = 2;
const TYPE_INSTANT: u64 = 3;
const TYPE_COUNTER: u64 = 4;

/// Writes a trace.
pub(super) struct Perfetto<W: Write> {
    out: BufWriter<W>,
    /// The packet at hand; one buffer for all.
    packet: Vec<u8>,
    /// Time of the sequence's clock; `None` before the first packet.
    now_ns: Option<u64>,
    /// Ends of slices that are not written, the innermost last, by track.
    open: Vec<Vec<u64>>,
    /// The track of events that name none.
    default_track: Option<TrackId>,
    sent: Sent,
}

/// Which names the sequence has, by their numbers.
#[derive(Default)]
struct Sent {
    names: Vec<bool>,
    categories: Vec<bool>,
    texts: Vec<bool>,
    keys: Vec<bool>,
}

/// Whether `id` is new in `sent`, where it is from then on.
fn is_new(sent: &mut Vec<bool>, id: u32) -> bool {
    let at = id as usize;
    if sent.len() <= at {
        sent.resize(at + 1, false);
    }
    !std::mem::replace(&mut sent[at], true)
}

/// Numbers in a packet sequence begin at 1.
fn iid(id: u32) -> u64 {
    u64::from(id) + 1
}

fn uuid(track: TrackId) -> u64 {
    FIRST_UUID + u64::from(track)
}

impl<W: Write> Perfetto<W> {
    pub(super) fn new(out: W) -> Self {
        let out = BufWriter::with_capacity(1 << 16, out);
        Self {
            out,
            packet: Vec::new(),
            now_ns: None,
            open: Vec::new(),
            default_track: None,
            sent: Sent::default(),
        }
    }

    /// The first packet: the clocks, and that times are differences unless a packet says otherwise.
    fn begin(&mut self, at_ns: u64, header: Option<&Header>) -> io::Result<()> {
        self.now_ns = Some(at_ns);
        let packet = &mut self.packet;
        let clock = |out: &mut Vec<u8>, id: u64, ns: u64| {
            nested(out, 1, |out| {
                integer(out, 1, id);
                integer(out, 2, ns);
                if id == CLOCK_SEQUENCE {
                    integer(out, 3, 1);
                }
            });
        };
        nested(packet, field::PACKET_CLOCK_SNAPSHOT, |out| {
            clock(out, CLOCK_MONOTONIC, at_ns);
            clock(out, CLOCK_SEQUENCE, at_ns);
            match header {
                Some(header) => {
                    clock(out, CLOCK_BOOTTIME, at_ns.saturating_add(header.boottime_offset_ns));
                    clock(out, CLOCK_REALTIME, header.wall_ns);
                }
                // Nothing ties it to another clock: the trace is on this one.
                None => integer(out, 2, CLOCK_MONOTONIC),
            }
        });
        defaults(packet, None);
        integer(packet, field::PACKET_SEQUENCE_FLAGS, 1);
        self.end_packet()
    }

    fn ensure_begun(&mut self, at_ns: u64) -> io::Result<()> {
        if self.now_ns.is_none() { self.begin(at_ns, None) } else { Ok(()) }
    }

    /// Begins a packet with a time.
    fn begin_packet(&mut self, t_ns: u64) -> io::Result<()> {
        self.ensure_begun(t_ns)?;
        let now_ns = self.now_ns.unwrap_or(t_ns);
        if let Some(later) = t_ns.checked_sub(now_ns) {
            integer(&mut self.packet, field::PACKET_TIMESTAMP, later);
            self.now_ns = Some(t_ns);
        } else {
            integer(&mut self.packet, field::PACKET_TIMESTAMP, t_ns);
            integer(&mut self.packet, field::PACKET_TIMESTAMP_CLOCK, CLOCK_MONOTONIC);
        }
        Ok(())
    }

    fn end_packet(&mut self) -> io::Result<()> {
        let packet = &mut self.packet;
        integer(packet, field::PACKET_SEQUENCE_ID, 1);
        let mut head = [0; 11];
        let mut length = 1;
        head[0] = (field::TRACE_PACKET << 3 | 2) as u8;
        let mut rest = packet.len();
        while rest >= 0x80 {
            head[length] = rest as u8 | 0x80;
            rest >>= 7;
            length += 1;
        }
        head[length] = rest as u8;
        self.out.write_all(&head[..=length])?;
        self.out.write_all(packet)?;
        packet.clear();
        Ok(())
    }

    fn event(&mut self, t_ns: u64, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.begin_packet(t_ns)?;
        integer(&mut self.packet, field::PACKET_SEQUENCE_FLAGS, 2);
        nested(&mut self.packet, field::PACKET_TRACK_EVENT, write);
        self.end_packet()
    }

    /// Ends the slices of a track that are over at `t_ns`.
    fn close(&mut self, track: TrackId, t_ns: u64) -> io::Result<()> {
        let is_default = self.default_track == Some(track);
        while let Some(end_ns) =
            self.open.get_mut(track as usize).and_then(|ends| ends.pop_if(|end| *end <= t_ns))
        {
            self.event(end_ns, |out| {
                integer(out, field::EVENT_TYPE, TYPE_END);
                if !is_default {
                    integer(out, field::EVENT_TRACK_UUID, uuid(track));
                }
            })?;
        }
        Ok(())
    }

    /// Adds to the packet the names that the slice is the first to have.
    fn intern(&mut self, slice: &Slice<'_>, names: &Names) {
        let sent = &mut self.sent;
        let mut interned = Vec::new();
        let mut add = |field: u32, id: u32, text: &str| {
            nested(&mut interned, field, |out| {
                integer(out, 1, iid(id));
                bytes(out, 2, text.as_bytes());
            });
        };
        if is_new(&mut sent.names, slice.name) {
            add(field::INTERNED_NAMES, slice.name, names.text(slice.name));
        }
        if is_new(&mut sent.categories, slice.category) {
            add(field::INTERNED_CATEGORIES, slice.category, names.text(slice.category));
        }
        for &(key, arg) in slice.args {
            if is_new(&mut sent.keys, key as u32) {
                add(field::INTERNED_ANNOTATION_NAMES, key as u32, key.as_str());
            }
            if let Arg::Text(text) = arg
                && is_new(&mut sent.texts, text)
            {
                add(field::INTERNED_ANNOTATION_STRINGS, text, names.text(text));
            }
        }
        if !interned.is_empty() {
            bytes(&mut self.packet, field::PACKET_INTERNED_DATA, &interned);
        }
    }
}

impl<W: Write> TraceWriter for Perfetto<W> {
    fn clocks(&mut self, header: &Header) -> io::Result<()> {
        if self.now_ns.is_none() { self.begin(header.origin_ns, Some(header)) } else { Ok(()) }
    }

    fn track(&mut self, track: &Track<'_>) -> io::Result<()> {
        let at = track.id as usize;
        if self.open.len() <= at {
            self.open.resize_with(at + 1, Vec::new);
        }
        let name = track.name.as_bytes();
        nested(&mut self.packet, field::PACKET_TRACK_DESCRIPTOR, |out| {
            integer(out, field::TRACK_UUID, uuid(track.id));
            match track.kind {
                TrackKind::Process { pid } => {
                    nested(out, field::TRACK_PROCESS, |out| {
                        integer(out, field::PROCESS_PID, pid);
                        bytes(out, field::PROCESS_NAME, name);
                    });
                    // By rank.
                    integer(out, field::TRACK_CHILD_ORDERING, 3);
                }
                TrackKind::Slices { parent, rank, .. } => {
                    bytes(out, field::TRACK_NAME, name);
                    integer(out, field::TRACK_PARENT, uuid(parent));
                    // What is below it is shown by rank.
                    integer(out, field::TRACK_CHILD_ORDERING, 3);
                    integer(out, field::TRACK_RANK, rank);
                }
                TrackKind::Counter { process, unit, .. } => {
                    bytes(out, field::TRACK_NAME, name);
                    integer(out, field::TRACK_PARENT, uuid(process));
                    nested(out, field::TRACK_COUNTER, |out| {
                        bytes(out, field::COUNTER_UNIT_NAME, unit.as_bytes());
                    });
                }
            }
        });
        // Nearly all events are those of the last lane, which need not name their track then.
        if matches!(track.kind, TrackKind::Slices { is_lane: true, .. }) {
            self.default_track = Some(track.id);
            defaults(&mut self.packet, Some(track.id));
        }
        self.end_packet()
    }

    fn slice(&mut self, slice: &Slice<'_>, names: &Names) -> io::Result<()> {
        self.close(slice.track, slice.begin_ns)?;
        self.begin_packet(slice.begin_ns)?;
        self.intern(slice, names);
        let is_default = self.default_track == Some(slice.track);
        let packet = &mut self.packet;
        integer(packet, field::PACKET_SEQUENCE_FLAGS, 2);
        nested(packet, field::PACKET_TRACK_EVENT, |out| {
            integer(out, field::EVENT_TYPE, TYPE_BEGIN);
            if !is_default {
                integer(out, field::EVENT_TRACK_UUID, uuid(slice.track));
            }
            integer(out, field::EVENT_CATEGORY_IIDS, iid(slice.category));
            integer(out, field::EVENT_NAME_IID, iid(slice.name));
            for &(key, arg) in slice.args {
                annotation(out, key, arg);
            }
            match slice.flow {
                Some(Flow::From(id)) => fixed64(out, field::EVENT_FLOW_IDS, id),
                Some(Flow::To(id)) => fixed64(out, field::EVENT_TERMINATING_FLOW_IDS, id),
                None => {}
            }
        });
        self.end_packet()?;
        if let Some(ends) = self.open.get_mut(slice.track as usize) {
            ends.push(slice.end_ns);
        }
        Ok(())
    }

    fn counter(&mut self, track: TrackId, t_ns: u64, value: f64) -> io::Result<()> {
        self.event(t_ns, |out| {
            integer(out, field::EVENT_TYPE, TYPE_COUNTER);
            integer(out, field::EVENT_TRACK_UUID, uuid(track));
            double(out, field::EVENT_DOUBLE_COUNTER, value);
        })
    }

    fn instant(&mut self, track: TrackId, t_ns: u64, name: &str) -> io::Result<()> {
        self.event(t_ns, |out| {
            integer(out, field::EVENT_TYPE, TYPE_INSTANT);
            integer(out, field::EVENT_TRACK_UUID, uuid(track));
            bytes(out, field::EVENT_NAME, name.as_bytes());
        })
    }

    fn finish(&mut self) -> io::Result<()> {
        for track in 0..self.open.len() {
            self.close(track as TrackId, u64::MAX)?;
        }
        self.out.flush()
    }
}

/// What packets from here on mean where they say nothing else: times are differences, and the track of events.
fn defaults(out: &mut Vec<u8>, track: Option<TrackId>) {
    nested(out, field::PACKET_DEFAULTS, |out| {
        integer(out, field::PACKET_TIMESTAMP_CLOCK, CLOCK_SEQUENCE);
        if let Some(track) = track {
            nested(out, field::PACKET_TRACK_EVENT, |out| {
                integer(out, field::EVENT_TRACK_UUID, uuid(track));
            });
        }
    });
}

fn annotation(out: &mut Vec<u8>, key: Key, arg: Arg) {
    nested(out, field::EVENT_DEBUG_ANNOTATIONS, |out| {
        integer(out, field::ANNOTATION_NAME_IID, iid(key as u32));
        match arg {
            Arg::Number(number) => integer(out, field::ANNOTATION_UINT, number),
            Arg::Text(text) => integer(out, field::ANNOTATION_STRING_IID, iid(text)),
        }
    });
}
