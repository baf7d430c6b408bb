//! What the formats of a time line write: tracks, slices, links, values.

use std::io;

use slmscope_profiles::record::Header;

use super::super::names::{NameId, Names};

/// Number of a track, from 1.
pub(in crate::export) type TrackId = u32;

/// Where slices or values are shown.
#[derive(Debug, Clone, Copy)]
pub(in crate::export) struct Track<'a> {
    pub(in crate::export) id: TrackId,
    pub(in crate::export) name: &'a str,
    pub(in crate::export) kind: TrackKind<'a>,
}

/// What a track is.
#[derive(Debug, Clone, Copy)]
pub(in crate::export) enum TrackKind<'a> {
    /// A group of tracks.
    Process { pid: u64 },
    /// Slices, below a process or another track; the lowest rank is shown first. Those of a lane are ops and what encloses
    /// them.
    Slices { parent: TrackId, pid: u64, rank: u64, is_lane: bool },
    /// Values over time, in a process.
    Counter { process: TrackId, pid: u64, unit: &'a str },
}

/// A stretch of time that has a name. Those of a track come in the order in which they begin, and what they enclose
/// after them.
#[derive(Debug, Clone, Copy)]
pub(in crate::export) struct Slice<'a> {
    pub(in crate::export) track: TrackId,
    /// CLOCK_MONOTONIC, ns.
    pub(in crate::export) begin_ns: u64,
    /// Not before the begin.
    pub(in crate::export) end_ns: u64,
    pub(in crate::export) name: NameId,
    pub(in crate::export) category: NameId,
    pub(in crate::export) args: &'a [(Key, Arg)],
    pub(in crate::export) flow: Option<Flow>,
}

/// A link between slices of different tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum Flow {
    /// From this slice.
    From(u64),
    /// To this slice.
    To(u64),
}

/// What else is known of a slice.
#[derive(Debug, Clone, Copy)]
pub(in crate::export) enum Arg {
    Number(u64),
    Text(NameId),
}

/// What an argument says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(in crate::export) enum Key {
    Run,
    Token,
    Tokens,
    Rows,
    Context,
    Layer,
    Kind,
    Bytes,
    Flops,
    Format,
    Shape,
    Bound,
    UnattributedNs,
}

impl Key {
    /// As it is spelled in a trace.
    pub(in crate::export) fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Token => "token",
            Self::Tokens => "tokens",
            Self::Rows => "rows",
            Self::Context => "context",
            Self::Layer => "layer",
            Self::Kind => "kind",
            Self::Bytes => "bytes",
            Self::Flops => "flops",
            Self::Format => "format",
            Self::Shape => "shape",
            Self::Bound => "bound",
            Self::UnattributedNs => "unattributed_ns",
        }
    }
}

/// A format of slices and counters.
pub(in crate::export) trait TraceWriter {
    /// How the clocks are related; before anything else, if it is known.
    fn clocks(&mut self, header: &Header) -> io::Result<()>;
    /// A track, before its first slice or value.
    fn track(&mut self, track: &Track<'_>) -> io::Result<()>;
    /// A slice.
    fn slice(&mut self, slice: &Slice<'_>, names: &Names) -> io::Result<()>;
    /// A value of a counter's track.
    fn counter(&mut self, track: TrackId, t_ns: u64, value: f64) -> io::Result<()>;
    /// A moment on a track of slices.
    fn instant(&mut self, track: TrackId, t_ns: u64, name: &str) -> io::Result<()>;
    /// The end.
    fn finish(&mut self) -> io::Result<()>;
}
