//! What exports cost: time and memory of a trace of a million slices, and of every format over ten million op events.
//!
//!     cargo bench -p slmscope-exports --bench formats [-- EVENTS]
//!
//! Records are made up one by one and never kept, so that the memory is that of the formats. What is written is counted
//! and thrown away, so that the disk is not measured.

#![allow(clippy::print_stdout, reason = "a program for developers: it prints figures")]

mod plan;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plan::{SITES, sites};
use slmscope_exports::export::{Filter, Format, TableName, Walk};
use slmscope_exports::recording::Entry;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::stats::SplitMix;

struct Count(Arc<AtomicU64>);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() {
    let events = std::env::args().find_map(|word| word.parse::<u64>().ok()).unwrap_or(10_000_000);
    measure(Format::Perfetto, 1_000_000);
    for format in [
        Format::Perfetto,
        Format::Chrome,
        Format::Speedscope,
        Format::Firefox,
        Format::Pprof,
        Format::Csv(TableName::Events),
        Format::Parquet(TableName::Events),
        Format::OpenMetrics,
    ] {
        measure(format, events);
    }
}

/// Exports so many events, and prints what it took; what making the records takes is not in it.
fn measure(format: Format, events: u64) {
    // The peak of what comes now, not of the format before.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let tokens = (events / u64::from(SITES)) as u32;
    let written = Arc::new(AtomicU64::new(0));
    let mut walk = Walk::new(Filter::default(), format.export(Count(Arc::clone(&written))));
    let mut random = SplitMix(1);
    let mut took = Duration::ZERO;
    let mut take = |entry: &Entry| {
        let began = Instant::now();
        walk.take(entry).expect("nothing is full");
        took += began.elapsed();
    };
    for entry in support::session(0) {
        match &entry {
            Entry::Record(record) => match &**record {
                Record::Plan(plan) => {
                    take(&Entry::Record(Record::Plan(PlanRecord { sites: sites(), ..plan.clone() }).into()));
                }
                _ => take(&entry),
            },
            _ => take(&entry),
        }
    }
    for token in 0..tokens {
        take(&Entry::Record(Record::Ops((&support::batch(token, SITES, &mut random)).into()).into()));
    }
    let began = Instant::now();
    let counts = walk.finish().expect("nothing is full");
    took += began.elapsed();
    println!(
        "{:<12} {:>9} events: {:.2} s, {:.0} ns and {:.1} bytes an event; peak memory {} MB",
        format.as_str(),
        counts.events,
        took.as_secs_f64(),
        took.as_nanos() as f64 / counts.events as f64,
        written.load(Ordering::Relaxed) as f64 / counts.events as f64,
        peak_kib().map_or_else(|| "?".to_owned(), |kib| (kib * 1024 / 1_000_000).to_string()),
    );
}

/// The most memory that this process ever had, KiB; `None` if the kernel does not say.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
