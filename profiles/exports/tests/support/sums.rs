//! One recording in every format, read back: what its op events add up to.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;
use slmscope_exports::export::{Counts, Filter, Format, Measure, TableName, Walk};
use slmscope_exports::recording::Entry;
use slmscope_profiles::phase::Phase;

use crate::exported::{self, field, fields};

/// What the op events of an export add up to.
#[derive(Debug, PartialEq, Eq, Default, Clone, Copy)]
pub struct Sums {
    pub events: u64,
    pub time_ns: u64,
    pub bytes: u64,
    pub flops: u64,
}

pub fn export(entries: &[Entry], format: Format, filter: Filter) -> (Vec<u8>, Counts) {
    let mut out = Vec::new();
    let mut walk = Walk::new(format.filter(filter), format.export(&mut out));
    for entry in entries {
        walk.take(entry).expect("memory takes all");
    }
    let counts = walk.finish().expect("memory takes all");
    drop(walk);
    (out, counts)
}

pub fn measured() -> Filter {
    Filter { phases: vec![Phase::Prefill, Phase::Decode], ..Filter::default() }
}

/// Rows of a table as maps.
pub fn rows(entries: &[Entry], table: TableName, filter: Filter) -> Vec<HashMap<String, String>> {
    let (out, _) = export(entries, Format::Csv(table), filter);
    let text = String::from_utf8(out).unwrap();
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().unwrap().split(',').map(str::to_owned).collect();
    let row = |line: &str| names.iter().cloned().zip(line.split(',').map(str::to_owned)).collect();
    lines.map(row).collect()
}

pub fn sum(rows: &[HashMap<String, String>], column: &str) -> u64 {
    rows.iter().map(|row| row[column].parse::<u64>().unwrap()).sum()
}

pub fn of_events(entries: &[Entry], filter: Filter) -> Sums {
    let rows = rows(entries, TableName::Events, filter);
    Sums {
        events: rows.len() as u64,
        time_ns: sum(&rows, "duration_ns"),
        bytes: sum(&rows, "bytes"),
        flops: sum(&rows, "flops"),
    }
}

pub fn of_ops(entries: &[Entry], filter: Filter) -> Sums {
    let rows = rows(entries, TableName::Ops, filter);
    Sums {
        events: sum(&rows, "count"),
        time_ns: sum(&rows, "time_ns"),
        bytes: sum(&rows, "bytes"),
        flops: sum(&rows, "flops"),
    }
}

pub fn of_tokens(entries: &[Entry], filter: Filter) -> Sums {
    let rows = rows(entries, TableName::Tokens, filter);
    Sums {
        events: sum(&rows, "selected_ops"),
        time_ns: sum(&rows, "selected_ns"),
        bytes: sum(&rows, "bytes"),
        flops: sum(&rows, "flops"),
    }
}

/// µs with three decimals as ns.
pub fn nanos(micros: &Value) -> u64 {
    (micros.as_f64().unwrap() * 1000.0).round() as u64
}

pub fn of_chrome(entries: &[Entry], filter: Filter) -> Sums {
    let (out, _) = export(entries, Format::Chrome, filter);
    let trace: Value = serde_json::from_slice(&out).unwrap();
    let mut sums = Sums::default();
    for event in trace["traceEvents"].as_array().unwrap() {
        if event["ph"] == "X" && event["args"].get("kind").is_some() {
            sums.events += 1;
            sums.time_ns += nanos(&event["dur"]);
            sums.bytes += event["args"]["bytes"].as_u64().unwrap_or(0);
            sums.flops += event["args"]["flops"].as_u64().unwrap_or(0);
        }
    }
    sums
}

pub fn of_perfetto(entries: &[Entry], filter: Filter) -> Sums {
    let (out, _) = export(entries, Format::Perfetto, filter);
    let mut sums = Sums::default();
    for slice in exported::perfetto(&out).slices {
        if slice.args.contains_key("kind") {
            sums.events += 1;
            sums.time_ns += slice.end_ns - slice.begin_ns;
            sums.bytes += slice.args.get("bytes").copied().unwrap_or(0);
            sums.flops += slice.args.get("flops").copied().unwrap_or(0);
        }
    }
    sums
}

pub fn of_pprof(entries: &[Entry], filter: Filter) -> Sums {
    let (out, _) = export(entries, Format::Pprof, filter);
    let mut profile = Vec::new();
    GzDecoder::new(&out[..]).read_to_end(&mut profile).unwrap();
    let mut sums = Sums::default();
    for sample in fields(&profile).into_iter().filter(|(number, _)| *number == 2) {
        let sample = fields(sample.1.bytes());
        let values = exported::packed(field(&sample, 2).unwrap().bytes());
        // What is no op has no labels.
        if field(&sample, 3).is_some() {
            sums.time_ns += values[0];
            sums.events += values[1];
            sums.bytes += values[2];
            sums.flops += values[3];
        }
    }
    sums
}

/// The weight of folded stacks that end in an op.
pub fn folded(entries: &[Entry], measure: Measure, filter: Filter) -> u64 {
    let (out, _) = export(entries, Format::Folded(measure), filter);
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().map(|line| line.rsplit_once(' ').unwrap());
    lines.filter(|(stack, _)| !stack.ends_with(')')).map(|(_, weight)| weight.parse::<u64>().unwrap()).sum()
}

pub fn of_folded(entries: &[Entry], filter: Filter) -> Sums {
    let of = |measure| folded(entries, measure, filter.clone());
    Sums {
        events: of(Measure::Events),
        time_ns: of(Measure::Time),
        bytes: of(Measure::Bytes),
        flops: of(Measure::Flops),
    }
}

/// Events and time; speedscope has nothing else.
pub fn of_speedscope(entries: &[Entry], filter: Filter) -> (u64, u64) {
    let (out, _) = export(entries, Format::Speedscope, filter);
    let file: Value = serde_json::from_slice(&out).unwrap();
    let frames = file["shared"]["frames"].as_array().unwrap();
    let (mut events, mut time_ns) = (0, 0);
    for profile in file["profiles"].as_array().unwrap() {
        let (mut stack, mut last) = (Vec::new(), 0);
        for event in profile["events"].as_array().unwrap() {
            let at = event["at"].as_u64().unwrap();
            assert!(at >= last, "times go back");
            last = at;
            let frame = event["frame"].as_u64().unwrap();
            if event["type"] == "O" {
                stack.push((frame, at));
                continue;
            }
            let (opened, begin) = stack.pop().expect("what closes was opened");
            assert_eq!(opened, frame, "frames are nested");
            if frames[frame as usize]["name"].as_str().unwrap().contains('.') {
                events += 1;
                time_ns += at - begin;
            }
        }
        assert!(stack.is_empty());
        assert_eq!(profile["endValue"].as_u64().unwrap(), last);
    }
    (events, time_ns)
}

/// Time in ops as metrics have it at the end.
pub fn of_openmetrics(entries: &[Entry], filter: Filter) -> u64 {
    let (out, _) = export(entries, Format::OpenMetrics, filter);
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("# EOF\n"));
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("slmscope_op_time_seconds_total")) {
        let (series, rest) = line.split_once("} ").unwrap();
        last.insert(series.to_owned(), rest.split(' ').next().unwrap().parse().unwrap());
    }
    (last.values().sum::<f64>() * 1e9).round() as u64
}

/// Events and time of a Firefox profile, whose tables are checked: every column is as long as its table, and what refers
/// to another table is in it.
pub fn of_firefox(entries: &[Entry], filter: Filter) -> (u64, u64) {
    let (out, _) = export(entries, Format::Firefox, filter);
    let mut text = String::new();
    GzDecoder::new(&out[..]).read_to_string(&mut text).unwrap();
    let profile: Value = serde_json::from_str(&text).unwrap();
    check_tables(&profile);
    let texts = profile["shared"]["stringArray"].as_array().unwrap();
    let (mut events, mut time_ns) = (0, 0);
    for thread in profile["threads"].as_array().unwrap() {
        let numbers = |table: &str, column: &str| {
            let values = thread[table][column].as_array().unwrap();
            values.iter().map(Value::as_u64).collect::<Vec<_>>()
        };
        let (frames, prefixes) = (numbers("stackTable", "frame"), numbers("stackTable", "prefix"));
        let outside =
            prefixes.iter().enumerate().find(|&(at, prefix)| prefix.is_some_and(|of| of >= at as u64));
        assert_eq!(outside, None, "a stack stands before the one around it");
        let (functions, names) = (numbers("frameTable", "func"), numbers("funcTable", "name"));
        let text = |name: u64| texts[name as usize].as_str().unwrap();
        assert!(numbers("markers", "name").iter().all(|name| !text(name.unwrap()).is_empty()));
        let kinds = profile["meta"]["markerSchema"].as_array().unwrap();
        for data in thread["markers"]["data"].as_array().unwrap().iter().filter(|data| !data.is_null()) {
            assert!(kinds.iter().any(|kind| kind["name"] == data["type"]), "{data} is explained");
        }
        let weights = thread["samples"]["weight"].as_array().unwrap();
        for (stack, weight) in numbers("samples", "stack").iter().zip(weights) {
            let Some(stack) = stack else { continue };
            let function = functions[frames[*stack as usize].unwrap() as usize].unwrap();
            if text(names[function as usize].unwrap()).contains('.') {
                events += 1;
                time_ns = u64::saturating_add(time_ns, (weight.as_f64().unwrap() * 1e6).round() as u64);
            }
        }
    }
    (events, time_ns)
}

/// Every table, which is an object that has a length, has columns of that length.
fn check_tables(value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, column) in fields {
                if let (Some(length), Some(column)) = (fields.get("length"), column.as_array()) {
                    assert_eq!(Some(column.len() as u64), length.as_u64(), "column {name}");
                }
                check_tables(column);
            }
        }
        Value::Array(values) => values.iter().for_each(check_tables),
        _ => {}
    }
}
