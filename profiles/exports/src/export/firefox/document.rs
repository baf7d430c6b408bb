//! The document around the tables: what the profile is of, its categories, the kinds of its markers, its threads.

use std::io::{self, Write};

use slmscope_profiles::channel::Unit;
use slmscope_profiles::lane::{HOST_LANE, LaneId};
use slmscope_profiles::plan::site::Module;

use super::super::names::quoted;
use super::super::readings::unit;
use super::super::timeline::FIRST_PID;
use super::column::array;
use super::markers::Markers;
use super::samples::Samples;
use super::stacks::Category;
use super::{Firefox, Millis, Thread};

/// The version of the processed format.
const VERSION: u32 = 58;

/// What stands in no module. The format wants the first category to be grey.
pub(super) const CATEGORY_OTHER: Category = 0;

/// Time that is no op.
pub(super) const CATEGORY_OF_NO_OP: Category = 1;

/// Names and colours; those of modules are in the order of [`Module::ALL`].
const CATEGORIES: [(&str, &str); 7] = [
    ("other", "grey"),
    ("no op", "darkgrey"),
    ("embedding", "yellow"),
    ("attention", "blue"),
    ("recurrent", "purple"),
    ("ffn", "orange"),
    ("lm_head", "green"),
];

/// The category of a module.
pub(super) fn category(module: Module) -> Category {
    Module::ALL.iter().position(|&one| one == module).map_or(CATEGORY_OTHER, |at| at + 2)
}

/// A kind of markers.
struct Kind {
    name: &'static str,
    /// With the format of each.
    fields: &'static [(&'static str, &'static str)],
    /// The field that has a graph of its own.
    graph: Option<&'static str>,
}

/// Kinds of markers, but those of readings.
const KINDS: [Kind; 2] = [
    Kind { name: "phase", fields: &[("run", "integer"), ("tokens", "integer")], graph: None },
    Kind {
        name: "token",
        fields: &[
            ("phase", "string"),
            ("run", "integer"),
            ("token", "integer"),
            ("rows", "integer"),
            ("context", "integer"),
            ("latency", "milliseconds"),
        ],
        graph: Some("latency"),
    },
];

impl<W: Write> Firefox<W> {
    /// Writes the document.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.meta(out)?;
        out.write_all(b"\"libs\":[],\"pages\":[],\"threads\":[")?;
        for (&(job, lane), Thread { name, samples, markers }) in &self.threads {
            let process = match self.models.get(&job) {
                Some(model) => format!("{model} (job {job})"),
                None => format!("job {job}"),
            };
            let pid = FIRST_PID.saturating_add(1).saturating_add(job);
            thread(&Shown { process: &process, name, pid, lane, samples, markers }, out)?;
            out.write_all(b",\n")?;
        }
        let (samples, markers) = (&Samples::default(), &self.machine);
        let (process, name) = ("machine", "machine");
        thread(&Shown { process, name, pid: FIRST_PID, lane: HOST_LANE, samples, markers }, out)?;
        out.write_all(b"],\n")?;
        self.energy.write(FIRST_PID, self.threads.len(), out)?;
        out.write_all(b"\"shared\":{")?;
        array("stringArray", self.texts.all().map(quoted), out)?;
        out.write_all(b"\"sources\":{\"uuid\":[],\"filename\":[],\"length\":0}}}\n")
    }

    fn meta(&self, out: &mut impl Write) -> io::Result<()> {
        let first_ns = self.clock.first_ns.unwrap_or(0);
        out.write_all(b"{\"meta\":{")?;
        if let Some(header) = &self.header {
            let wall_ns = header.wall_ns.saturating_add(first_ns.saturating_sub(header.origin_ns));
            write!(out, "\"startTime\":{},", Millis(wall_ns))?;
            write!(out, "\"startTimeAsClockMonotonicNanosecondsSinceBoot\":{first_ns},")?;
            write!(out, "\"logicalCPUs\":{},", header.host.logical_cpus)?;
            let texts = [("CPUName", &header.host.cpu_model), ("oscpu", &header.host.os)];
            for (name, text) in texts {
                if let Some(text) = text {
                    write!(out, "\"{name}\":{},", quoted(text))?;
                }
            }
        } else {
            out.write_all(b"\"startTime\":0,")?;
        }
        write!(out, "\"profilingStartTime\":0,\"profilingEndTime\":{},", Millis(self.clock.last_ns))?;
        let threads = 0..=self.threads.len();
        array("initialVisibleThreads", threads, out)?;
        out.write_all(b"\"initialSelectedThreads\":[0],")?;
        let category = |&(name, colour): &(&str, &str)| {
            format!(r#"{{"name":"{name}","color":"{colour}","subcategories":["Other"]}}"#)
        };
        array("categories", CATEGORIES.iter().map(category), out)?;
        // Readings of each unit are a kind of markers.
        let readings = Unit::ALL.map(|of| Kind {
            name: unit(of),
            fields: &[("value", "decimal")],
            graph: Some("value"),
        });
        array("markerSchema", KINDS.iter().chain(&readings).map(schema), out)?;
        let product = concat!("slmscope ", env!("CARGO_PKG_VERSION"));
        writeln!(
            out,
            "\"product\":\"{product}\",\"importedFrom\":\"slmscope\",\"interval\":0.001,\"processType\":0,\"stackwalk\":0,\
             \"debug\":false,\"version\":31,\"preprocessedProfileVersion\":{VERSION},\"symbolicated\":true,\
             \"usesOnlyOneStackType\":true,\"sourceCodeIsNotOnSearchfox\":true,\"keepProfileThreadOrder\":true,\
             \"sampleUnits\":{{\"time\":\"ms\",\"eventDelay\":\"ms\",\"threadCPUDelta\":\"ns\"}},\
             \"extensions\":{{\"baseURL\":[],\"id\":[],\"name\":[],\"length\":0}}}},"
        )
    }
}

/// A thread as it is written.
struct Shown<'a> {
    process: &'a str,
    name: &'a str,
    pid: u64,
    lane: LaneId,
    samples: &'a Samples,
    markers: &'a Markers,
}

fn thread(shown: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
    let &Shown { process, name, pid, lane, samples, markers } = shown;
    let (process, name, is_main) = (quoted(process), quoted(name), lane == HOST_LANE);
    write!(
        out,
        r#"{{"processType":"default","processName":{process},"processStartupTime":0,"processShutdownTime":null,"registerTime":0,"unregisterTime":null,"pausedRanges":[],"showMarkersInTimeline":true,"name":{name},"isMainThread":{is_main},"pid":"{pid}","tid":"{pid}-{lane}","#
    )?;
    samples.write(out)?;
    markers.write(out)?;
    out.write_all(
        b"\"resourceTable\":{\"lib\":[],\"name\":[],\"host\":[],\"type\":[],\"length\":0},\
          \"nativeSymbols\":{\"libIndex\":[],\"address\":[],\"name\":[],\"functionSize\":[],\"length\":0}}",
    )
}

/// A kind of markers as the format explains them.
fn schema(kind: &Kind) -> String {
    let field =
        |(key, format): &(&str, &str)| format!(r#"{{"key":"{key}","label":"{key}","format":"{format}"}}"#);
    let (name, fields) = (kind.name, kind.fields.iter().map(field).collect::<Vec<_>>().join(","));
    let graphs = kind.graph.map_or_else(String::new, |key| {
        format!(r#","graphs":[{{"key":"{key}","type":"line","color":"blue"}}]"#)
    });
    format!(
        r#"{{"name":"{name}","display":["marker-chart","marker-table","timeline-overview"],"fields":[{fields}]{graphs}}}"#
    )
}
