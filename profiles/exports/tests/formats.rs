//! One recording in every format, read back: counts and totals are the same in all of them.

#![allow(clippy::unwrap_used, reason = "what is missing fails the test")]

#[path = "support/exported.rs"]
mod exported;
#[path = "support/sums.rs"]
mod sums;
mod support;

use std::io::{self, Read, Write};

use exported::fields;
use flate2::read::GzDecoder;
use serde_json::Value;
use slmscope_exports::export::{Filter, Format, Measure, TableName, Walk, difference_svg};
use slmscope_exports::recording::Entry;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::site::Module;
use slmscope_profiles::record::Record;
use sums::{
    export, measured, of_chrome, of_events, of_firefox, of_folded, of_openmetrics, of_ops, of_perfetto,
    of_pprof, of_speedscope, of_tokens, rows, sum,
};

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
        assert_eq!(of_firefox(&entries, filter.clone()), (sums.events, sums.time_ns), "firefox, {filter:?}");
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
fn a_process_has_the_models_name_although_a_mark_comes_first() {
    let mut entries = exported::session(2);
    let is_mark =
        |entry: &Entry| matches!(entry, Entry::Record(record) if matches!(**record, Record::Mark(_)));
    let at = entries.iter().position(is_mark).unwrap();
    let mark = entries.remove(at);
    entries.insert(2, mark);
    let (out, _) = export(&entries, Format::Perfetto, Filter::default());
    let trace = exported::perfetto(&out);
    assert!(trace.tracks.contains(&"m (job 1)".to_owned()), "{:?}", trace.tracks);
    assert_eq!(trace.instants, 1, "the mark is there");
}

#[test]
fn a_firefox_profile_has_readings_energy_and_all_of_a_phases_time() {
    let entries = exported::session(6);
    let (out, _) = export(&entries, Format::Firefox, Filter { layers: "1".parse().ok(), ..measured() });
    let mut text = String::new();
    GzDecoder::new(&out[..]).read_to_string(&mut text).unwrap();
    let profile: Value = serde_json::from_str(&text).unwrap();
    let weights = profile["threads"][0]["samples"]["weight"].as_array().unwrap();
    let whole = weights.iter().map(|weight| (weight.as_f64().unwrap() * 1e6).round() as u64).sum::<u64>();
    let phases = rows(&entries, TableName::Phases, Filter::default());
    assert_eq!(whole, sum(&phases, "recorded_wall_ns"), "what is not selected is there too");
    // 2 J between two readings are 2 / 3600 Wh; the first has none before it.
    let energy = &profile["counters"][0];
    assert_eq!((&energy["name"], energy["samples"]["length"].as_u64()), (&"energy.package".into(), Some(6)));
    let counts: Vec<f64> =
        energy["samples"]["count"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert_eq!(counts[..2], [0.0, (2e12_f64 / 3600.0).round()]);
    let machine = &profile["threads"][1];
    assert_eq!(machine["name"], "machine");
    let data = machine["markers"]["data"].as_array().unwrap();
    assert!(data.contains(&serde_json::json!({"type": "°C", "value": 51.5})), "{data:?}");
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

/// A value of JSON as a table has it: empty where it is null.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn a_run_is_a_row_of_runs_and_what_is_not_known_of_it_is_empty() {
    let entries = exported::session(3);
    let (out, _) = export(&entries, Format::Json, Filter::default());
    let result: Value = serde_json::from_slice(&out).unwrap();
    let found = rows(&entries, TableName::Runs, Filter::default());
    assert_eq!(found.len(), 1);
    let row = &found[0];
    for (column, value) in [
        ("run_id", &result["run_id"]),
        ("status", &result["status"]),
        ("model", &result["model"]["id"]),
        ("machine", &result["host"]["name"]),
        ("threads", &result["engine"]["threads"]),
        ("ttft_ns", &result["summary"]["ttft_ns"]),
        ("weight_bytes", &result["model"]["weight_bytes"]),
        ("grade", &result["hygiene"]["grade"]),
    ] {
        assert_eq!(row[column], cell(value), "{column}");
    }
    assert_eq!(row["throttled_tokens"], "", "nothing reports throttling here: not known, and not 0");
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
            // Its tables are checked while it is read.
            Format::Firefox => assert_eq!(of_firefox(&entries, Filter::default()).0, counts.unwrap().events),
            _ => assert!(counts.is_ok(), "{format:?}: {counts:?}"),
        }
    }
}

#[test]
fn weights_of_damaged_records_have_a_sum() {
    let mut entries = exported::session(0);
    let at = entries.len() - 1;
    for token in 0..3 {
        let mut batch = support::batch(token, 1, &mut slmscope_profiles::stats::SplitMix(1));
        batch.head.end_ns = u64::MAX - 1;
        batch.head.repetition = token;
        batch.head.plan = 1;
        entries.insert(at, Entry::Record(Record::Ops((&batch).into()).into()));
    }
    let measure = Format::Folded(Measure::Time);
    let (out, _) = export(&entries, measure, Filter::default());
    let weights = String::from_utf8(out).unwrap();
    let weights = weights.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap());
    let whole = weights.clone().try_fold(0_u64, u64::checked_add);
    assert!(whole.is_some_and(|whole| whole > u64::MAX / 4), "{whole:?}");
    let (graph, _) = export(&entries, Format::Flamegraph(Measure::Time), Filter::default());
    assert!(graph.ends_with(b"</svg>"));
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
