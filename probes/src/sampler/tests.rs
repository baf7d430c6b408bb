use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slmscope_profiles::channel::{ChannelId, ReasonCode, Sample, Value};

use super::{Sampler, Sink, Watched};
use crate::own::WorkerPid;
use crate::source::{Group, Lane, Pace, Source};

/// Answers at once, and tells which pace it was given.
struct Quick {
    channel: ChannelId,
    pace: f64,
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
}

/// Hangs like a driver until it is let go.
struct Stuck {
    entered: Sender<()>,
    release: Receiver<()>,
}

impl Source for Stuck {
    fn channels(&self) -> Vec<ChannelId> {
        vec![7]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        self.entered.send(()).unwrap();
        let _ = self.release.recv();
        values.push((7, Value::Present(1.0)));
    }
}

fn quick(channel: ChannelId, group: Group) -> Lane {
    Lane { name: "quick", group, sources: vec![Box::new(Quick { channel, pace: -1.0 })] }
}

fn start(lanes: Vec<Lane>) -> (Sampler, Receiver<Sample>) {
    let (sender, samples) = channel();
    let sender = Mutex::new(sender);
    let sink: Sink = Arc::new(move |sample| {
        let _ = sender.lock().unwrap().send(sample);
    });
    let deadline = Duration::from_millis(20);
    (Sampler::with_lanes(lanes, WorkerPid::default(), sink, deadline).unwrap(), samples)
}

fn wait_for(samples: &Receiver<Sample>, channel: ChannelId, value: Value) {
    while !samples.recv().unwrap().values.contains(&(channel, value)) {}
}

#[test]
fn a_stuck_source_stalls_nobody_and_is_reported_and_returns() {
    let ((entered, is_in), (let_go, release)) = (channel(), channel());
    let stuck =
        Lane { name: "stuck", group: Group::Slow, sources: vec![Box::new(Stuck { entered, release })] };
    let (sampler, samples) = start(vec![stuck, quick(1, Group::Fast)]);
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
fn stopping_does_not_wait_for_a_stuck_source_and_nothing_comes_after() {
    let ((entered, is_in), (let_go, release)) = (channel(), channel());
    let stuck =
        Lane { name: "stuck", group: Group::Slow, sources: vec![Box::new(Stuck { entered, release })] };
    let (sampler, samples) = start(vec![stuck]);
    is_in.recv().unwrap();
    sampler.stop();
    drop(let_go);
    // The sink is gone with the sampler, so the channel ends; only the watcher may have spoken.
    assert!(samples.iter().all(|sample| sample.values == [(7, Value::Absent(ReasonCode::Deadline))]));
}

#[test]
fn a_new_pace_takes_effect_at_once() {
    // Idle, this group is read every 5 s.
    let (sampler, samples) = start(vec![quick(3, Group::Slow)]);
    wait_for(&samples, 3, Value::Present(0.0));
    sampler.set_pace(Pace::Client);
    wait_for(&samples, 3, Value::Present(1.0));
    sampler.set_pace(Pace::Workload);
    wait_for(&samples, 3, Value::Present(2.0));
}

#[test]
fn a_lane_is_overdue_once() {
    let watched = Watched::new(&quick(0, Group::Fast));
    assert!(!watched.newly_overdue(1_000, 10));
    watched.reading_since.store(500, std::sync::atomic::Ordering::Release);
    assert!(!watched.newly_overdue(505, 10));
    assert!(watched.newly_overdue(600, 10));
    assert!(!watched.newly_overdue(700, 10));
}
