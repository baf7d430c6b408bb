//! The page of a report: of a long session, and of several sessions beside each other.

#![allow(clippy::unwrap_used, reason = "what is missing fails the test")]

mod support;

use slmscope_exports::page::{Collector, Compared, PageError, PhaseVerdict, Words, compare};
use slmscope_exports::recording::Entry;
use slmscope_profiles::channel::{Channel, Class, Kind, Quantity, Sample, Scope, Unit, Value};
use slmscope_profiles::compare::{Options, Repetition, Repetitions};
use slmscope_profiles::job::Span;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::stats::SplitMix;

const STEP_NS: u64 = 4_000_000;

fn record(record: Record) -> Entry {
    Entry::Record(record.into())
}

/// Clocks, temperatures and powers.
fn channels(count: u16) -> Vec<Channel> {
    let channel = |number: u16| {
        let (name, quantity, unit) = match number % 3 {
            0 => ("freq", Quantity::Frequency, Unit::Hertz),
            1 => ("temp", Quantity::Temperature, Unit::Celsius),
            _ => ("power", Quantity::Power, Unit::Watts),
        };
        Channel {
            channel: number,
            id: format!("{name}.{number}"),
            quantity,
            unit,
            scope: Scope::Package,
            class: Class::Measured,
            kind: Kind::Gauge,
            source: "/sys/x".to_owned(),
            period_ns: None,
            update_ns: None,
            reason: None,
            remedy: None,
        }
    };
    (0..count).map(channel).collect()
}

/// `repetitions` of decode with `steps` each; the step of number `slow` takes ten times as long as the others.
fn session(repetitions: u32, steps: u32, slow: u32) -> Vec<Entry> {
    let mut entries = Vec::new();
    for entry in support::session(0) {
        match &entry {
            Entry::Record(shared) => match &**shared {
                Record::Catalogue { .. } => {
                    entries.push(record(Record::Catalogue { channels: channels(24) }));
                }
                Record::Span(_) => entries.extend(run(repetitions, steps, slow)),
                _ => entries.push(entry),
            },
            _ => entries.push(entry),
        }
    }
    entries
}

fn run(repetitions: u32, steps: u32, slow: u32) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut now_ns = 1_000_000_000;
    for repetition in 0..repetitions {
        let begin_ns = now_ns;
        let mut token_ends_ns = Vec::new();
        for step in 0..steps {
            let number = repetition * steps + step;
            // Some scatter, as real steps have.
            let usual = STEP_NS + u64::from(number.wrapping_mul(2_654_435_761) >> 14);
            now_ns += if number == slow { 10 * STEP_NS } else { usual };
            token_ends_ns.push(now_ns);
        }
        entries.push(record(Record::Span(Span {
            job: 1,
            repetition,
            phase: Phase::Decode,
            begin_ns,
            end_ns: now_ns,
            tokens: steps,
            sample_ns: 0,
            token_ends_ns,
        })));
        let reading =
            |number: u16| (number, Value::Present(f64::from(repetition % 7) + f64::from(number) / 3.0));
        let readings = (0..20).map(|part| Sample {
            t_ns: begin_ns + part * (now_ns - begin_ns) / 20,
            values: (0..24).map(reading).collect(),
            ..Sample::default()
        });
        entries.extend(readings.map(|sample| record(Record::Sample(sample))));
    }
    entries
}

fn collected(entries: &[Entry]) -> Collector {
    let mut collector = Collector::default();
    for entry in entries {
        collector.take(entry);
    }
    collector
}

#[test]
fn a_page_of_ten_minutes_is_below_three_megabytes_and_shows_the_one_slow_token() {
    // 150,000 steps of 4 ms, and 6,000 readings of 24 channels.
    let mut collector = collected(&session(300, 500, 77_777));
    let mut page = Vec::new();
    collector.write("ten minutes", &mut page).unwrap();
    assert!(page.len() <= 3_000_000, "{} bytes", page.len());
    let page = String::from_utf8(page).unwrap();
    let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let latency = data["charts"].as_array().unwrap().iter().find(|chart| chart["id"] == "latency").unwrap();
    let steps: Vec<f64> =
        latency["y"][0].as_array().unwrap().iter().filter_map(serde_json::Value::as_f64).collect();
    assert!(steps.contains(&40.0), "the slow token is in the chart");
    assert!((1_000..=2_000).contains(&steps.len()), "{}", steps.len());
    assert!(page.contains("240 more are in the chart alone"), "repetitions without a row are said");
}

/// What a run with 40 decode steps is compared by.
fn repetitions(seed: u64) -> Vec<Repetition> {
    let (mut random, mut repetitions) = (SplitMix(seed), Repetitions::default());
    for token in 0..40 {
        repetitions.add(&support::batch(token, 20, &mut random), &[]);
    }
    repetitions.of(Phase::Decode, &[])
}

#[test]
fn sessions_stand_beside_each_other_with_their_verdict() {
    let side =
        |name: &str, steps| Compared { name: name.to_owned(), collector: collected(&session(2, steps, 9)) };
    let (a, b) = (vec![repetitions(1)], vec![repetitions(2)]);
    let verdicts = vec![PhaseVerdict {
        phase: Phase::Decode,
        sentence: "decode: slower by <3 %>".to_owned(),
        remarks: vec!["a remark".to_owned()],
        comparison: slmscope_profiles::compare::compare(&a, &b, Options::default()).unwrap(),
    }];
    let mut sessions = [side("a.mcap", 20), side("b <b>.mcap", 30)];
    let mut page = Vec::new();
    let words = Words {
        headline: "b is slower".to_owned(),
        remarks: vec!["the machine was not fit".to_owned()],
        verdicts,
        recipe: "slmscope diff a b".to_owned(),
    };
    compare(&mut sessions, &words, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    for part in [
        "<title>a.mcap, b &lt;b&gt;.mcap",
        "b is slower",
        "slmscope diff a b",
        "the same",
        "unattributed",
        "slower by &lt;3 %&gt;",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("b <b>.mcap"), "a name is no HTML");
    let mut empty = [Compared { name: "c".to_owned(), collector: Collector::default() }];
    let told = compare(&mut empty, &words, &mut Vec::new());
    assert!(matches!(told, Err(PageError::NoResult)), "{told:?}");
}
