//! Chrome's trace events as JSON: times are µs with three decimals, on CLOCK_MONOTONIC.
//!
//! | event | what |
//! |---|---|
//! | `M` | names of processes and tracks |
//! | `X` | a slice; `args` as in Perfetto's format |
//! | `s`, `f` | the link from a token to its ops |
//! | `C` | a value of a channel |
//! | `i` | a moment |

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use slmscope_profiles::record::Header;

use super::names::{NameId, Names, quoted};
use super::timeline::{Arg, Flow, Slice, TraceWriter, Track, TrackId, TrackKind};

/// Writes a trace.
pub(super) struct Chrome<W: Write> {
    out: BufWriter<W>,
    has_events: bool,
    /// Process of each track of slices.
    pids: BTreeMap<TrackId, u64>,
    counters: BTreeMap<TrackId, Counter>,
    /// Names as JSON, by number.
    quoted: Vec<Option<String>>,
    clocks: Option<Header>,
}

/// A counter's track.
struct Counter {
    pid: u64,
    /// As JSON.
    name: String,
    unit: String,
}

/// ns as µs with three decimals.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl<W: Write> Chrome<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 16, out),
            has_events: false,
            pids: BTreeMap::new(),
            counters: BTreeMap::new(),
            quoted: Vec::new(),
            clocks: None,
        }
    }

    /// Begins an event.
    fn next(&mut self) -> io::Result<()> {
        let before: &[u8] = if self.has_events { b",\n" } else { b"{\"traceEvents\":[\n" };
        self.has_events = true;
        self.out.write_all(before)
    }

    fn name(&mut self, id: NameId, names: &Names) -> &str {
        let at = id as usize;
        if self.quoted.len() <= at {
            self.quoted.resize(at + 1, None);
        }
        self.quoted[at].get_or_insert_with(|| quoted(names.text(id)))
    }

    fn metadata(&mut self, what: &str, pid: u64, tid: TrackId, argument: &str) -> io::Result<()> {
        self.next()?;
        write!(self.out, r#"{{"ph":"M","name":"{what}","pid":{pid},"tid":{tid},"args":{{{argument}}}}}"#)
    }

    fn flow(&mut self, flow: Flow, pid: u64, slice: &Slice<'_>) -> io::Result<()> {
        let (phase, id) = match flow {
            Flow::From(id) => (r#""s""#, id),
            Flow::To(id) => (r#""f","bp":"e""#, id),
        };
        self.next()?;
        let (tid, ts) = (slice.track, Micros(slice.begin_ns));
        write!(
            self.out,
            r#"{{"ph":{phase},"cat":"token","name":"token","id":"{id:x}","pid":{pid},"tid":{tid},"ts":{ts}}}"#
        )
    }
}

impl<W: Write> TraceWriter for Chrome<W> {
    fn clocks(&mut self, header: &Header) -> io::Result<()> {
        self.clocks = Some(header.clone());
        Ok(())
    }

    fn track(&mut self, track: &Track<'_>) -> io::Result<()> {
        let name = quoted(track.name);
        match track.kind {
            TrackKind::Process { pid } => self.metadata("process_name", pid, 0, &format!(r#""name":{name}"#)),
            TrackKind::Slices { pid, rank, .. } => {
                self.pids.insert(track.id, pid);
                self.metadata("thread_name", pid, track.id, &format!(r#""name":{name}"#))?;
                self.metadata("thread_sort_index", pid, track.id, &format!(r#""sort_index":{rank}"#))
            }
            TrackKind::Counter { pid, unit, .. } => {
                self.counters.insert(track.id, Counter { pid, name, unit: quoted(unit) });
                Ok(())
            }
        }
    }

    fn slice(&mut self, slice: &Slice<'_>, names: &Names) -> io::Result<()> {
        let pid = self.pids.get(&slice.track).copied().unwrap_or(0);
        self.next()?;
        // Looked up one after the other, since each may be new.
        self.name(slice.name, names);
        self.name(slice.category, names);
        for (_, arg) in slice.args {
            if let Arg::Text(text) = arg {
                self.name(*text, names);
            }
        }
        let known = |id: NameId| self.quoted.get(id as usize).and_then(Option::as_deref).unwrap_or("\"\"");
        let (begin, duration) = (Micros(slice.begin_ns), Micros(slice.end_ns - slice.begin_ns));
        let (name, category, tid) = (known(slice.name), known(slice.category), slice.track);
        write!(
            self.out,
            r#"{{"ph":"X","name":{name},"cat":{category},"pid":{pid},"tid":{tid},"ts":{begin},"dur":{duration}"#
        )?;
        for (at, &(key, arg)) in slice.args.iter().enumerate() {
            self.out.write_all(if at == 0 { br#","args":{"# } else { b"," })?;
            match arg {
                Arg::Number(number) => write!(self.out, r#""{}":{number}"#, key.as_str())?,
                Arg::Text(text) => write!(self.out, r#""{}":{}"#, key.as_str(), known(text))?,
            }
        }
        self.out.write_all(if slice.args.is_empty() { b"}" } else { b"}}" })?;
        slice.flow.map_or(Ok(()), |flow| self.flow(flow, pid, slice))
    }

    fn counter(&mut self, track: TrackId, t_ns: u64, value: f64) -> io::Result<()> {
        if !self.counters.contains_key(&track) {
            return Ok(());
        }
        self.next()?;
        let Some(Counter { pid, name, unit }) = self.counters.get(&track) else { return Ok(()) };
        let ts = Micros(t_ns);
        write!(self.out, r#"{{"ph":"C","name":{name},"pid":{pid},"ts":{ts},"args":{{{unit}:{value}}}}}"#)
    }

    fn instant(&mut self, track: TrackId, t_ns: u64, name: &str) -> io::Result<()> {
        let pid = self.pids.get(&track).copied().unwrap_or(0);
        self.next()?;
        let (name, ts) = (quoted(name), Micros(t_ns));
        write!(self.out, r#"{{"ph":"i","s":"t","name":{name},"pid":{pid},"tid":{track},"ts":{ts}}}"#)
    }

    fn finish(&mut self) -> io::Result<()> {
        let begin = if self.has_events { "" } else { "{\"traceEvents\":[" };
        write!(self.out, "{begin}\n],\"displayTimeUnit\":\"ns\"")?;
        if let Some(header) = &self.clocks {
            let (origin, wall, boot) = (header.origin_ns, header.wall_ns, header.boottime_offset_ns);
            let version = quoted(&header.version);
            write!(
                self.out,
                r#","otherData":{{"slmscope":{version},"clock":"CLOCK_MONOTONIC","origin_ns":"{origin}","wall_ns":"{wall}","boottime_offset_ns":"{boot}"}}"#
            )?;
        }
        self.out.write_all(b"}\n")?;
        self.out.flush()
    }
}
