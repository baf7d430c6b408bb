//! The report on every channel: one reading, or two where a difference is needed.

use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use slmscope_profiles::channel::{
    Channel, ChannelId, Class, Kind, Quantity, Reason, ReasonCode, Scope, Unit, Value, rate,
};
use slmscope_profiles::doctor::{DoctorReport, DoctorRow, SCHEMA};

use crate::clock::monotonic_ns;
use crate::inventory::{discover, plain_reason};
use crate::root::Root;
use crate::source::{Lane, Pace};

/// Time between the two readings.
const APART: Duration = Duration::from_millis(250);

/// The whole report takes no longer; sources that have not answered by then are absent.
const BUDGET: Duration = Duration::from_millis(1900);

/// One reading of a channel: when (CLOCK_MONOTONIC, ns) and what.
type Reading = (u64, Value);

/// Reads every channel of the machine twice, 250 ms apart; under a tree, where nothing moves, once.
pub fn doctor(root: &Root) -> DoctorReport {
    let end = Instant::now() + BUDGET;
    let inventory = discover(root);
    let rounds = if root.is_live() { 2 } else { 1 };
    let readings = read(inventory.lanes, inventory.channels.len(), rounds, end);
    let now = monotonic_ns();
    let row = |channel| row(channel, &inventory.channels, &readings, root.is_live().then_some(now));
    DoctorReport {
        schema: SCHEMA.to_owned(),
        root: root.path().display().to_string(),
        user: user(),
        board: inventory.board,
        channels: inventory.channels.iter().map(row).collect(),
    }
}

/// Readings of every channel, oldest first; at most one for each round.
fn read(lanes: Vec<Lane>, channels: usize, rounds: u32, end: Instant) -> Vec<Vec<Reading>> {
    let (sender, receiver) = mpsc::channel();
    for mut lane in lanes {
        let sender = sender.clone();
        let body = move || read_lane(&mut lane, rounds, &sender);
        if let Err(error) = thread::Builder::new().name("doctor".to_owned()).spawn(body) {
            tracing::warn!(%error, "cannot start a thread; its channels are absent");
        }
    }
    drop(sender);
    let mut readings = vec![Vec::new(); channels];
    while let Ok((t_ns, values)) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        for (channel, value) in values {
            if let Some(list) = readings.get_mut(usize::from(channel)) {
                list.push((t_ns, value));
            }
        }
    }
    readings
}

fn read_lane(lane: &mut Lane, rounds: u32, sender: &Sender<(u64, Vec<(ChannelId, Value)>)>) {
    for source in &mut lane.sources {
        source.set_pace(Pace::Workload);
    }
    let begin = Instant::now();
    for round in 0..rounds {
        thread::sleep((begin + APART * round).saturating_duration_since(Instant::now()));
        for source in &mut lane.sources {
            let mut values = Vec::new();
            source.read(&mut values);
            if sender.send((monotonic_ns(), values)).is_err() {
                return;
            }
        }
    }
}

/// `now` is given where readings have an age.
fn row(channel: &Channel, all: &[Channel], readings: &[Vec<Reading>], now: Option<u64>) -> DoctorRow {
    let of = |id: ChannelId| readings.get(usize::from(id)).map_or(&[][..], Vec::as_slice);
    let read = match (&channel.reason, channel.kind) {
        (Some(reason), _) => Err(reason.clone()),
        (None, Kind::Rate { of: counter }) => {
            let range = match all.get(usize::from(counter)).map(|counter| counter.kind) {
                Some(Kind::Counter { range }) => range,
                _ => None,
            };
            difference(of(counter), range, channel)
        }
        (None, Kind::Gauge | Kind::Counter { .. }) => latest(of(channel.channel), channel),
    };
    let (time, value, reason) = match read {
        Ok((time, value)) => (Some(time), Some(value), None),
        Err(reason) => (None, None, Some(reason)),
    };
    // What can be had with a second reading is not unavailable.
    let class = match &reason {
        Some(reason) if reason.code != ReasonCode::NeedsTwoReadings => Class::Unavailable,
        _ => channel.class,
    };
    DoctorRow {
        id: channel.id.clone(),
        quantity: channel.quantity,
        unit: channel.unit,
        scope: channel.scope.clone(),
        class,
        source: channel.source.clone(),
        period_ns: channel.period_ns,
        age_ns: now.and_then(|now| Some(now.saturating_sub(time?))),
        value,
        reason,
        remedy: channel.remedy.clone(),
    }
}

fn latest(readings: &[Reading], channel: &Channel) -> Result<(u64, f64), Reason> {
    match readings.last() {
        Some(&(time, Value::Present(value))) => Ok((time, value)),
        Some((_, Value::Absent(ReasonCode::NoSuchInterface))) if channel.scope == Scope::Process => {
            Err(Reason::new(ReasonCode::NoSuchInterface, "no worker process runs at the moment"))
        }
        Some(&(_, Value::Absent(code))) => Err(plain_reason(code, &channel.source)),
        None => Err(plain_reason(ReasonCode::Deadline, &channel.source)),
    }
}

fn difference(readings: &[Reading], range: Option<f64>, channel: &Channel) -> Result<(u64, f64), Reason> {
    let (time, newer) = latest(readings, channel)?;
    let Some(&(older_time, older)) = readings.first().filter(|_| readings.len() > 1) else {
        return Err(plain_reason(ReasonCode::NeedsTwoReadings, &channel.source));
    };
    let older = older.get().ok_or_else(|| plain_reason(ReasonCode::NeedsTwoReadings, &channel.source))?;
    // A running machine uses energy all the time: an unmoved counter says nothing about power.
    if channel.quantity == Quantity::Power && (newer - older).abs() < f64::EPSILON {
        return Err(plain_reason(ReasonCode::Stale, &channel.source));
    }
    match rate((older_time, older), (time, newer), range) {
        // Time is counted in ticks of 10 ms, so a busy CPU may seem to run for longer than it did.
        Some(rate)
            if channel.unit == Unit::Ratio && !matches!(channel.scope, Scope::Process | Scope::Cgroup) =>
        {
            Ok((time, rate.min(1.0)))
        }
        Some(rate) => Ok((time, rate)),
        None => Err(Reason::new(
            ReasonCode::Implausible,
            format!("{}: the counter went backwards", channel.source),
        )),
    }
}

/// Name of the user who runs this, as in `/etc/passwd`; the number where there is no name.
fn user() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}
