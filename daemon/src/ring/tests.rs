use slmscope_profiles::clock::{Calibration, CalibrationMethod, ClockSource};
use slmscope_profiles::op::{ColumnQuantity, Phase};
use slmscope_profiles::span::SpanName;

use super::record::halves;
use super::*;

fn batch(seq: u64, count: usize) -> OpBatch {
    OpBatch {
        head: BatchHead {
            job: 8,
            plan: 1,
            lane: 0,
            repetition: 2,
            phase: Phase::Decode,
            token: seq as u32,
            rows: 1,
            context: 9,
            seq,
            begin_ns: seq * 1_000,
            end_ns: seq * 1_000 + 999,
            tick_ns: 1,
            clock: ClockSource::Host,
        },
        spans: [(SpanName::Sample, 3), (SpanName::Wait, 4)].map(|(name, ns)| NamedSpan { name, ns }).to_vec(),
        columns: Vec::new(),
        events: (0..count)
            .map(|i| OpEvent { site: i as u16, reserved: 0, gap: i as u32, duration: seq as u32 })
            .collect(),
    }
}

fn push(producer: &mut Producer, batch: &OpBatch) {
    producer.push(&batch.head, &batch.spans, &batch.columns, &batch.events);
}

fn pair() -> (Consumer, Producer) {
    let consumer = Consumer::create().unwrap();
    let producer = Producer::open(&consumer.memory.try_clone().unwrap()).unwrap();
    (consumer, producer)
}

#[test]
fn batches_come_out_as_they_went_in_many_times_around() {
    let (mut consumer, mut producer) = pair();
    for seq in 0..20_000 {
        let sent = batch(seq, (seq % 700) as usize);
        push(&mut producer, &sent);
        assert_eq!(consumer.next().unwrap(), Some(sent));
    }
    assert_eq!(consumer.next().unwrap(), None);
    assert_eq!(consumer.lost(), 0);
}

#[test]
fn a_full_ring_drops_whole_batches_and_counts_them() {
    let (mut consumer, mut producer) = pair();
    let sent = 6_000;
    for seq in 0..sent {
        let batch = batch(seq, 363);
        push(&mut producer, &batch);
    }
    let mut next = 0;
    while let Some(got) = consumer.next().unwrap() {
        assert_eq!(got, batch(next, 363));
        next += 1;
    }
    assert!(next > 400 && next < sent);
    assert_eq!(next + consumer.lost(), sent);
    let more = batch(sent, 5);
    push(&mut producer, &more);
    assert_eq!(consumer.next().unwrap(), Some(more));
}

#[test]
fn a_lying_producer_is_refused() {
    for (at, value) in [(HEAD, u64::MAX), (HEAD, 8), (HEAD, (CAPACITY as u64) + 1)] {
        let (mut consumer, producer) = pair();
        producer.map.word(at).store(value, Ordering::Release);
        assert!(consumer.next().is_err(), "{value}");
    }
    let (mut consumer, mut producer) = pair();
    let sent = batch(0, 2);
    push(&mut producer, &sent);
    producer.map.write(0, &u64::MAX.to_le_bytes());
    assert!(consumer.next().is_err());
}

#[test]
fn lanes_clocks_and_expert_counts_come_through() {
    let (mut consumer, mut producer) = pair();
    for seq in 0..30_000 {
        let mut sent = batch(seq, (seq % 90) as usize);
        let methods = CalibrationMethod::KNOWN;
        let method = methods[seq as usize % methods.len()].clone();
        let error_ns = (method != CalibrationMethod::Unplaced).then_some(seq);
        let calibration = Calibration { method, offset_ns: -(seq as i64), error_ns };
        (sent.head.lane, sent.head.clock) = (seq as u16, ClockSource::Device { calibration });
        sent.spans.truncate((seq % 3) as usize);
        let experts =
            |event| ColumnValue { event: Some(event), quantity: ColumnQuantity::Experts, value: 8.0 };
        sent.columns = (0..(seq % 70) as u32).map(experts).collect();
        sent.columns.push(ColumnValue { event: None, quantity: ColumnQuantity::BarrierWait, value: 0.5 });
        push(&mut producer, &sent);
        assert_eq!(consumer.next().unwrap(), Some(sent));
    }
    assert_eq!(consumer.lost(), 0);
}

#[test]
fn what_has_no_number_is_left_out() {
    let (mut consumer, mut producer) = pair();
    let mut sent = batch(0, 2);
    sent.spans.push(NamedSpan { name: "dream".into(), ns: 7 });
    sent.columns = vec![ColumnValue { event: None, quantity: "joules".into(), value: 1.0 }];
    push(&mut producer, &sent);
    assert_eq!(consumer.next().unwrap(), Some(batch(0, 2)));
}

#[test]
fn records_with_numbers_that_nothing_has_are_refused() {
    let (spans, values) = (WORDS as u64 * 8, WORDS as u64 * 8 + 2 * 8);
    let damages = [
        (2 * 8, u64::from(u32::MAX) << 32, "phase"),
        (8 * 8, halves(99, 1), "clock"),
        (spans, u64::MAX, "span"),
        // The second span has the name of the first.
        (spans + 8, 5, "span"),
        (values, u64::MAX, "column"),
        (values + 8, f64::NAN.to_bits(), "column"),
        (0, Counts { events: 2, values: 1, spans: 3 + MAX_SPANS }.word(), "counts"),
        (0, Counts { events: 20, values: 1, spans: 2 }.word(), "counts"),
        (0, Counts { events: 2, values: 9, spans: 2 }.word(), "counts"),
    ];
    for (at, word, what) in damages {
        let (mut consumer, mut producer) = pair();
        let mut sent = batch(0, 2);
        sent.columns = vec![ColumnValue { event: None, quantity: ColumnQuantity::Experts, value: 1.0 }];
        push(&mut producer, &sent);
        producer.map.write(at, &word.to_le_bytes());
        assert_eq!(consumer.next().unwrap_err().what, what, "byte {at}");
    }
}

#[test]
fn both_ends_may_run_at_once() {
    let (mut consumer, mut producer) = pair();
    let sending = std::thread::spawn(move || {
        for seq in 0..50_000 {
            let batch = batch(seq, 50);
            push(&mut producer, &batch);
        }
    });
    let (mut received, mut last) = (0, None);
    while received + consumer.lost() < 50_000 {
        if let Some(got) = consumer.next().unwrap() {
            assert!(last < Some(got.head.seq));
            assert_eq!(got, batch(got.head.seq, 50));
            last = Some(got.head.seq);
            received += 1;
        }
    }
    sending.join().unwrap();
}
