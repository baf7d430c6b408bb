//! What a recording costs: bytes and time for an op event, and the time until the first table of a long one.
//!
//!     cargo bench -p slmscope-exports --bench recording [-- EVENTS]
//!
//! Records are made up, with times that vary by a few percent as those of real runs do; a chunk is appended every 10
//! tokens, as at 50 tokens a second. The file is kept in memory, so that the disk is not measured.

#![allow(clippy::print_stdout, reason = "a program for developers: it prints figures")]

#[path = "../tests/support/batch.rs"]
mod batch;
mod plan;

use std::time::Instant;

use batch::batch;
use plan::{SITES, sites};
use slmscope_exports::recording::{Entry, Event, Reader, Writer};
use slmscope_profiles::profile::Profile;
use slmscope_profiles::record::Record;
use slmscope_profiles::roofline::Roofs;
use slmscope_profiles::stats::SplitMix;

fn main() {
    let events = std::env::args().find_map(|word| word.parse::<u64>().ok()).unwrap_or(10_000_000);
    let tokens = (events / u64::from(SITES)) as u32;
    let events = f64::from(tokens) * f64::from(SITES);
    let mut random = SplitMix(1);
    let mut writer = Writer::new(Vec::new()).expect("memory can be written");
    let mut writing_ns = 0.0;
    for token in 0..tokens {
        let entry = Entry::Record(Record::Ops((&batch(token, SITES, &mut random)).into()).into());
        let began = Instant::now();
        writer.write(&entry).expect("memory can be written");
        if token % 10 == 9 {
            writer.flush().expect("memory can be written");
        }
        writing_ns += began.elapsed().as_nanos() as f64;
    }
    let file = writer.finish().expect("memory can be written");
    println!(
        "{events:.0} events in {} MB: {:.2} bytes an event",
        file.len() / 1_000_000,
        file.len() as f64 / events
    );
    println!("writing {:.1} ns an event", writing_ns / events);

    let began = Instant::now();
    let mut profile = Profile::new(sites(), "bench".to_owned());
    for event in Reader::new(&file[..]).expect("it was just written") {
        let Ok(Event::Entry(Entry::Record(record))) = event else { continue };
        if let Record::Ops(ops) = &*record {
            profile.add_batch(&ops.to_batch());
        }
    }
    let rows = profile.ops(&Roofs::absent("not measured")).len();
    let took = began.elapsed();
    println!(
        "first table ({rows} rows) after {:.2} s, {:.1} ns an event",
        took.as_secs_f64(),
        took.as_nanos() as f64 / events
    );
}
