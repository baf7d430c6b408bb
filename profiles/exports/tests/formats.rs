//! One recording in every format, read back: counts and totals are the same in all of them.

#![allow(clippy::unwrap_used, reason = "what is missing fails the test")]

#[path = "support/exported.rs"]
mod exported;
mod support;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};

use exported::{field, fields};
use flate2::read::GzDecoder;
use serde_json::Value;
use slmscope_exports::export::{Counts, Filter, Format, Measure, TableName, Walk, difference_svg};
use slmscope_exports::recording::Entry;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::site::Module;

/// What the op events of an export add up to.
#[derive(Debug, PartialEq, Eq, Default, Clone, Copy)]
struct Sums {
    events: u64,
    time_ns: u64,
    bytes: u64,
    flops: u64,
}

fn export(entries: &[Entry], format: Format, filter: Filter) -> (Vec<u8>, Counts) {
    let mut out = Vec::new();
    let mut walk = Walk::new(format.filter(filter), format.export(&mut out));
    for entry in entries {
        walk.take(entry).expect("memory takes all");
    }
    let counts = walk.finish().expect("memory takes all");
    drop(walk);
    (out, counts)
}

fn measured() -> Filter {
    Filter { phases: vec![Phase::Prefill, Phase::Decode], ..Filter::default() }
}

/// Rows of a table as maps.
fn rows(entries: &[Entry], table: TableName, filter: Filter) -> Vec<HashMap<String, String>> {
    let (out, _) = export(entries, Format::Csv(table), filter);
    let text = String::from_utf8(out).unwrap();
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().unwrap().split(',').map(str::to_owned).collect();
    let row = |line: &str| names.iter().cloned().zip(line.split(',').map(str::to_owned)).collect();
    lines.map(row).collect()
}

fn sum(rows: &[HashMap<String, String>], column: &str) -> u64 {
    rows.iter().map(|row| row[column].parse::<u64>().unwrap()).sum()
}

fn of_events(entries: &[Entry], filter: Filter) -> Sums {
    let rows = rows(entries, TableName::Events, filter);
    Sums {
        events: rows.len() as u64,
        time_ns: sum(&rows, "duration_ns"),
        bytes: sum(&rows, "bytes"),
        flops: sum(&rows, "flops"),
    }
}

fn of_ops(entries: &[Entry], filter: Filter) -> Sums {
    let rows = rows(entries, TableName::Ops, filter);
    Sums {
        events: sum(&rows, "count"),
        time_ns: sum(&rows, "time_ns"),
        bytes: sum(&rows, "bytes"),
        flops: sum(&rows, "flops"),
    }
}

fn of_tokens(entries: &[Entry], filter: Filter) -> Sums {
    let rows = rows(entries, TableName::Tokens, filter);
    Sums {
        events: sum(&rows, "selected_ops"),
        time_ns: sum(&rows, "selected_ns"),
        bytes: sum(&rows, "bytes"),
        flops: sum(&rows, "flops"),
    }
}

/// µs with three decimals as ns.
fn nanos(micros: &Value) -> u64 {
    (micros.as_f64().unwrap() * 1000.0).round() as u64
}

fn of_chrome(entries: &[Entry], filter: Filter) -> Sums {
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

fn of_perfetto(entries: &[Entry], filter: Filter) -> Sums {
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

fn of_pprof(entries: &[Entry], filter: Filter) -> Sums {
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
fn folded(entries: &[Entry], measure: Measure, filter: Filter) -> u64 {
    let (out, _) = export(entries, Format::Folded(measure), filter);
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().map(|line| line.rsplit_once(' ').unwrap());
    lines.filter(|(stack, _)| !stack.ends_with(')')).map(|(_, weight)| weight.parse::<u64>().unwrap()).sum()
}

fn of_folded(entries: &[Entry], filter: Filter) -> Sums {
    let of = |measure| folded(entries, measure, filter.clone());
    Sums {
        events: of(Measure::Events),
        time_ns: of(Measure::Time),
        bytes: of(Measure::Bytes),
        flops: of(Measure::Flops),
    }
}

/// Events and time; speedscope has nothing else.
fn of_speedscope(entries: &[Entry], filter: Filter) -> (u64, u64) {
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
fn of_openmetrics(entries: &[Entry], filter: Filter) -> u64 {
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

#[test]
fn counts_and_totals_agree_in_all_formats() {
    let entries = exported::session(40);
    let of_ffn = Filter { modules: vec![Module::Ffn], layers: "1..2".parse().ok(), ..measured() };
    let of_tokens_5_to_9 = Filter { tokens: "5..9".parse().ok(), phases: vec![Phase::Decode], ..measured() };
    for filter in [measured(), of_ffn, of_tokens_5_to_9] {
        let sums = of_events(&entries, filter.clone());
        assert!(sums.events > 0 && sums.time_ns > 0 && sums.bytes > 0 && sums.flops > 0, "{filter:?}");
        assert_eq!(of_ops(&entries, filter.clone()), sums, "ops, {filter:?}");
        assert_eq!(of_tokens(&entries, filter.clone()), sums, "tokens, {filter:?}");
        assert_eq!(of_chrome(&entries, filter.clone()), sums, "chrome, {filter:?}");
        assert_eq!(of_perfetto(&entries, filter.clone()), sums, "perfetto, {filter:?}");
        assert_eq!(of_pprof(&entries, filter.clone()), sums, "pprof, {filter:?}");
        assert_eq!(of_folded(&entries, filter.clone()), sums, "folded, {filter:?}");
        assert_eq!(of_speedscope(&entries, filter.clone()), (sums.events, sums.time_ns), "{filter:?}");
        assert_eq!(of_openmetrics(&entries, filter.clone()), sums.time_ns, "openmetrics, {filter:?}");
        let (_, counts) = export(&entries, Format::Chrome, filter);
        assert_eq!(counts.events, sums.events);
    }
}

#[test]
fn energy_of_a_phase_is_divided_by_time_and_there_is_none_without_a_sensor() {
    let mut entries = exported::session(10);
    let mut energy = Walk::new(Filter::default(), Format::Folded(Measure::Energy).export(io::sink()));
    for entry in &entries {
        energy.take(entry).unwrap();
    }
    assert!(energy.finish().unwrap_err().to_string().contains("no energy"));
    for entry in &mut entries {
        if let Entry::Result { result, .. } = entry {
            let decode =
                serde_json::json!({"phase": "decode", "joules": 3.0, "class": "measured", "updates": 9});
            result.energy.phases = vec![serde_json::from_value(decode).unwrap()];
        }
    }
    let total = |measure| {
        let (out, _) = export(&entries, Format::Folded(measure), Filter::default());
        let lines = String::from_utf8(out).unwrap();
        let of = |line: &str| {
            line.starts_with("decode;").then(|| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        };
        lines.lines().filter_map(of).collect::<Vec<_>>()
    };
    let (energies, times) = (total(Measure::Energy), total(Measure::Time));
    // Each is rounded to a microjoule.
    assert!(energies.iter().sum::<u64>().abs_diff(3_000_000) <= energies.len() as u64, "{energies:?}");
    assert_eq!(energies.len(), times.len());
    let (profile, _) = export(&entries, Format::Pprof, Filter::default());
    let mut bytes = Vec::new();
    GzDecoder::new(&profile[..]).read_to_end(&mut bytes).unwrap();
    let types = fields(&bytes).iter().filter(|(number, _)| *number == 1).count();
    assert_eq!(types, 5);
}

#[test]
fn everything_that_was_recorded_is_in_a_trace_and_sums_leave_out_what_is_not_measured() {
    let entries = exported::session(10);
    let (all, measured) = (of_events(&entries, Filter::default()), of_events(&entries, measured()));
    assert!(all.events > measured.events, "warm-up is recorded too");
    assert_eq!(of_perfetto(&entries, Filter::default()), all);
    assert_eq!(of_chrome(&entries, Filter::default()), all);
    assert_eq!(of_pprof(&entries, Filter::default()), measured);
    assert_eq!(of_folded(&entries, Filter::default()), measured);
}

/// The time of all folded stacks. No closure, whose constant arguments rustc 1.95 may use again after they were dropped
/// (rust-lang/rust#155241).
fn total_of_stacks(entries: &[Entry], filter: Filter) -> u64 {
    let (out, _) = export(entries, Format::Folded(Measure::Time), filter);
    let text = String::from_utf8(out).expect("it is text");
    let time = |line: &str| line.rsplit_once(' ')?.1.parse::<u64>().ok();
    text.lines().map(|line| time(line).expect("it ends with a number")).sum()
}

#[test]
fn times_below_a_phase_are_all_its_time_whatever_is_selected() {
    let entries = exported::session(10);
    let phases = rows(&entries, TableName::Phases, Filter::default());
    let whole = total_of_stacks(&entries, Filter::default());
    assert_eq!(whole, sum(&phases, "recorded_wall_ns"));
    let one = Filter { modules: vec![Module::LmHead], ..Filter::default() };
    assert_eq!(total_of_stacks(&entries, one), whole);
    let parts = ["ops_ns", "gap_ns", "other_ns", "unattributed_ns"].map(|part| sum(&phases, part));
    assert_eq!(parts.iter().sum::<u64>(), sum(&phases, "recorded_wall_ns"));
}

#[test]
fn slices_are_nested_and_tracks_and_clocks_are_those_of_the_recording() {
    let entries = exported::session(6);
    let (out, _) = export(&entries, Format::Perfetto, Filter::default());
    let trace = exported::perfetto(&out);
    assert_eq!(trace.clocks, exported::CLOCKS);
    for name in ["machine", "m (job 1)", "phases", "tokens", "engine threads", "power.package"] {
        assert!(trace.tracks.contains(&name.to_owned()), "{name}: {:?}", trace.tracks);
    }
    let count = |name: &str| trace.slices.iter().filter(|slice| slice.name == name).count();
    // 6 measured, 2 of warm-up; three layers each, also in the chunk.
    assert_eq!((count("token"), count("chunk"), count("layer 0")), (8, 1, 9));
    assert_eq!((count("prefill"), count("decode"), count("sample")), (1, 1, 9));
    // Power is derived from the counter of joules: 2 W from the second reading on.
    assert_eq!(trace.counters["power.package"], vec![2.0; 5]);
    assert_eq!(trace.counters["energy.package"].len(), 6);
    // Every token is linked with its ops.
    assert_eq!(trace.flows, 9);
}

#[test]
fn readings_have_their_reasons_where_they_have_no_value() {
    let entries = exported::session(4);
    let rows = rows(&entries, TableName::Channels, Filter::default());
    let first = rows.iter().find(|row| row["channel"] == "power.package").unwrap();
    assert_eq!((first["value"].as_str(), first["reason"].as_str()), ("", "needs_two_readings"));
    let asleep = rows.iter().find(|row| row["channel"] == "temp.package" && row["value"].is_empty());
    assert_eq!(asleep.unwrap()["reason"], "gated_or_asleep");
}

#[test]
fn the_result_is_the_object_that_run_prints() {
    let entries = exported::session(3);
    let (out, _) = export(&entries, Format::Json, Filter::default());
    let result: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(result["schema"], "slmscope.run/1");
    let mut without = Walk::new(Filter::default(), Format::Json.export(io::sink()));
    assert!(without.finish().unwrap_err().to_string().contains("no result"));
}

#[test]
fn a_flame_graph_names_ops_and_shows_the_difference_of_two_sessions() {
    let entries = exported::session(3);
    let (graph, _) = export(&entries, Format::Flamegraph(Measure::Bytes), Filter::default());
    let graph = String::from_utf8(graph).unwrap();
    assert!(graph.contains("ffn.down_proj") && graph.contains("lm_head") && graph.ends_with("</svg>"));
    let (before, _) = export(&entries, Format::Folded(Measure::Time), Filter::default());
    let (after, _) = export(&exported::session(5), Format::Folded(Measure::Time), Filter::default());
    let mut difference = Vec::new();
    difference_svg(&before, &after, Measure::Time, "a and b", &mut difference).unwrap();
    assert!(String::from_utf8(difference).unwrap().contains("ffn.down_proj"));
    let none = Filter { layers: "99".parse().ok(), phases: vec![Phase::Load], ..Filter::default() };
    let mut walk = Walk::new(none, Format::Flamegraph(Measure::Time).export(io::sink()));
    assert!(walk.finish().unwrap_err().to_string().contains("no op events"));
}

#[test]
fn damaged_records_end_in_no_panic_and_in_nested_slices() {
    let mut random = slmscope_profiles::stats::SplitMix(3);
    let entries = exported::damaged(200, &mut random);
    for format in Format::ALL {
        let mut out = Vec::new();
        let mut walk = Walk::new(Filter::default(), format.export(&mut out));
        for entry in &entries {
            walk.take(entry).unwrap();
        }
        let counts = walk.finish();
        drop(walk);
        match format {
            Format::Json => assert!(counts.is_err()),
            Format::Chrome | Format::Speedscope => {
                counts.unwrap();
                serde_json::from_slice::<Value>(&out).unwrap();
            }
            Format::Perfetto => {
                let trace = exported::perfetto(&out);
                let events = trace.slices.iter().filter(|slice| slice.args.contains_key("kind")).count();
                assert_eq!(events as u64, counts.unwrap().events);
            }
            _ => assert!(counts.is_ok(), "{format:?}: {counts:?}"),
        }
    }
}

#[test]
fn an_output_that_takes_no_more_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("no space left"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let entries = exported::session(3);
    for format in Format::ALL {
        let mut walk = Walk::new(Filter::default(), format.export(Full));
        let taken: io::Result<()> = entries.iter().try_for_each(|entry| walk.take(entry));
        assert!(taken.and_then(|()| walk.finish().map(drop)).is_err(), "{format:?}");
    }
}
