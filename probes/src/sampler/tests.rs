use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slmscope_profiles::channel::{ChannelId, ReasonCode, Sample, Value};

use super::{Sampler, Sink, Slot, Watched};
use crate::source::{Group, Lane, Pace, Source};
use crate::sources::load::self_usage::WorkerPid;

/// Answers at once, with the pace that it was given.
struct Quick {
    channel: ChannelId,
    pace: f64,
    supports_khz: bool,
}

impl Source for Quick {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.channel]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        values.push((self.channel, Value::Present(self.pace)));
    }

    fn set_pace(&mut self, pace: Pace) {
        self.pace = f64::from(super::encode(pace));
    }

    fn supports_khz(&self) -> bool {
        self.supports_khz
    }
}

fn quick(channel: ChannelId) -> Box<dyn Source> {
    Box::new(Quick { channel, pace: -1.0, supports_khz: false })
}

/// Hangs like a driver until it is let go.
struct Stuck {
    channel: ChannelId,
    entered: Sender<()>,
    release: Receiver<()>,
}

impl Source for Stuck {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.channel]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        self.entered.send(()).unwrap();
        let _ = self.release.recv();
        values.push((self.channel, Value::Present(1.0)));
    }
}

/// The source, a signal that a reading has begun, and what lets it end.
fn stuck(channel_id: ChannelId) -> (Box<dyn Source>, Receiver<()>, Sender<()>) {
    let ((entered, is_in), (let_go, release)) = (channel(), channel());
    (Box::new(Stuck { channel: channel_id, entered, release }), is_in, let_go)
}

fn lane(group: Group, sources: Vec<Box<dyn Source>>) -> Lane {
    Lane { name: "lane", group, sources }
}

fn start(lanes: Vec<Lane>) -> (Sampler, Receiver<Sample>) {
    let (sender, samples) = channel();
    let sender = Mutex::new(sender);
    let sink: Sink = Arc::new(move |sample: &Sample| {
        let _ = sender.lock().unwrap().send(sample.clone());
    });
    let deadline = Duration::from_millis(20);
    let lanes = lanes.into_iter().map(|lane| Watched::new(lane, |_| None)).collect();
    (Sampler::with_lanes(lanes, WorkerPid::default(), sink, deadline).unwrap(), samples)
}

fn wait_for(samples: &Receiver<Sample>, channel: ChannelId, value: Value) -> Sample {
    samples.iter().find(|sample| sample.values.contains(&(channel, value))).unwrap()
}

#[test]
fn a_stuck_source_stalls_nobody_and_is_reported_and_returns() {
    let (source, is_in, let_go) = stuck(7);
    let (sampler, samples) = start(vec![lane(Group::Slow, vec![source]), lane(Group::Fast, vec![quick(1)])]);
    sampler.set_pace(Pace::Workload);
    is_in.recv().unwrap();
    wait_for(&samples, 7, Value::Absent(ReasonCode::Deadline));
    for _ in 0..5 {
        wait_for(&samples, 1, Value::Present(2.0));
    }
    let_go.send(()).unwrap();
    wait_for(&samples, 7, Value::Present(1.0));
    drop(let_go);
    sampler.stop();
}

#[test]
fn sources_that_share_a_lane_with_two_stuck_ones_are_read_on() {
    let ((first, in_first, let_first), (second, in_second, let_second)) = (stuck(7), stuck(8));
    let (sampler, samples) = start(vec![lane(Group::Fast, vec![quick(1), first, second, quick(2)])]);
    sampler.set_pace(Pace::Workload);
    in_first.recv().unwrap();
    wait_for(&samples, 7, Value::Absent(ReasonCode::Deadline));
    in_second.recv().unwrap();
    wait_for(&samples, 8, Value::Absent(ReasonCode::Deadline));
    for _ in 0..3 {
        wait_for(&samples, 1, Value::Present(2.0));
        wait_for(&samples, 2, Value::Present(2.0));
    }
    assert!(in_first.try_recv().is_err(), "a source that hangs is not entered again");
    drop((let_first, let_second));
    for channel in [7, 8, 1, 2] {
        wait_for(&samples, channel, Value::Present(if channel > 2 { 1.0 } else { 2.0 }));
    }
    sampler.stop();
}

#[test]
fn stopping_does_not_wait_for_a_stuck_source_and_nothing_comes_after() {
    let (source, is_in, let_go) = stuck(7);
    let (sampler, samples) = start(vec![lane(Group::Slow, vec![source])]);
    is_in.recv().unwrap();
    sampler.stop();
    drop(let_go);
    // The sink is gone with the sampler, so the channel ends; only the watcher may have spoken.
    assert!(samples.iter().all(|sample| sample.values == [(7, Value::Absent(ReasonCode::Deadline))]));
}

#[test]
fn a_new_pace_takes_effect_at_once() {
    // Idle, this group is read every 5 s.
    let (sampler, samples) = start(vec![lane(Group::Slow, vec![quick(3)])]);
    wait_for(&samples, 3, Value::Present(0.0));
    sampler.set_pace(Pace::Client);
    wait_for(&samples, 3, Value::Present(1.0));
    sampler.set_pace(Pace::Workload);
    wait_for(&samples, 3, Value::Present(2.0));
}

#[test]
fn a_repeated_value_comes_with_its_age() {
    let (sampler, samples) = start(vec![lane(Group::Fast, vec![quick(3)])]);
    sampler.set_pace(Pace::Workload);
    let first = wait_for(&samples, 3, Value::Present(2.0));
    let later = wait_for(&samples, 3, Value::Present(2.0));
    assert_eq!(first.age_ns, 0);
    assert_eq!(later.age_ns, later.t_ns - first.t_ns);
}

#[test]
fn only_what_bears_it_is_read_a_thousand_times_a_second_and_only_on_request() {
    let counter = Quick { channel: 1, pace: 0.0, supports_khz: true };
    let slot = Slot::new(Box::new(counter), |_| None);
    let other = Slot::new(quick(2), |_| None);
    let period_ms = |slot: &Slot, pace, hz| slot.period_ns(Group::Fast, pace, hz) / 1_000_000;
    assert_eq!(period_ms(&slot, Pace::Workload, 1000), 1);
    assert_eq!(period_ms(&slot, Pace::Workload, 100), 10);
    assert_eq!(period_ms(&other, Pace::Workload, 1000), 10);
    assert_eq!(period_ms(&slot, Pace::Client, 1000), 100);
    assert_eq!(period_ms(&slot, Pace::Idle, 1000), 1000);
}

#[test]
fn a_source_is_overdue_once() {
    let slot = Slot::new(quick(0), |_| None);
    assert!(!slot.is_newly_overdue(1_000, 10));
    slot.begin_reading_at(500);
    assert!(!slot.is_newly_overdue(505, 10));
    assert!(slot.is_newly_overdue(600, 10));
    assert!(!slot.is_newly_overdue(700, 10));
}
