//! A load whose power is a square wave, sensors that watch it, and somebody who reads them.

use slmscope_profiles::channel::{Channel, Class, Kind, Quantity, Sample, Scope, Unit, Value};
use slmscope_profiles::energy::{Stretch, Window, phase_energy};
use slmscope_profiles::op::Phase;
use slmscope_profiles::result::PhaseEnergy;
use slmscope_profiles::stats::SplitMix;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// A number from 0 to 1.
pub fn uniform(random: &mut SplitMix) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number from `low` to `high`, as likely in each factor of two.
pub fn spread(random: &mut SplitMix, low: f64, high: f64) -> f64 {
    low * (high / low).powf(uniform(random))
}

/// Power over time.
#[derive(Debug, Clone, Copy)]
pub struct Wave {
    pub low: f64,
    pub high: f64,
    pub half_ns: u64,
    pub offset_ns: u64,
}

impl Wave {
    pub fn watts(&self, t_ns: u64) -> f64 {
        if ((t_ns + self.offset_ns) / self.half_ns).is_multiple_of(2) { self.low } else { self.high }
    }

    /// Used since time 0, J.
    pub fn joules(&self, t_ns: u64) -> f64 {
        self.since_start(t_ns + self.offset_ns) - self.since_start(self.offset_ns)
    }

    fn since_start(&self, ns: u64) -> f64 {
        let (halves, rest) = (ns / self.half_ns, ns % self.half_ns);
        let whole = (halves / 2) as f64 * (self.low + self.high) + (halves % 2) as f64 * self.low;
        let now = if halves.is_multiple_of(2) { self.low } else { self.high };
        (whole * self.half_ns as f64 + now * rest as f64) / 1e9
    }
}

/// What a sensor shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shows {
    /// Energy so far in steps of 1 µJ, which starts again at this many J.
    Energy { range: f64 },
    /// The power at the moment of its update.
    Power,
    /// The mean since the update before.
    MeanPower,
}

/// A sensor that makes a value every `period_ns`.
#[derive(Debug, Clone, Copy)]
pub struct Sensor {
    pub shows: Shows,
    pub period_ns: u64,
    pub offset_ns: u64,
    /// Standard deviation of power values, as a share.
    pub noise: f64,
}

impl Sensor {
    pub fn channel(&self) -> Channel {
        let (quantity, unit, kind) = match self.shows {
            Shows::Energy { range } => (Quantity::Energy, Unit::Joules, Kind::Counter { range: Some(range) }),
            Shows::Power | Shows::MeanPower => (Quantity::Power, Unit::Watts, Kind::Gauge),
        };
        Channel {
            channel: 3,
            id: "synthetic".to_owned(),
            quantity,
            unit,
            scope: Scope::Package,
            class: Class::Measured,
            kind,
            source: String::new(),
            period_ns: None,
            update_ns: None,
            reason: None,
            remedy: None,
        }
    }

    /// What somebody sees who looks at that time.
    pub fn value(&self, wave: &Wave, t_ns: u64) -> f64 {
        let since = (t_ns + self.offset_ns) % self.period_ns;
        let made_ns = t_ns.saturating_sub(since);
        let error = || {
            // The sum of four uniform numbers is near enough to a normal one, and the same for every look.
            let mut random = SplitMix(made_ns ^ 0x5eed);
            ((0..4).map(|_| uniform(&mut random)).sum::<f64>() - 2.0) * 3_f64.sqrt()
        };
        let power = |watts: f64| {
            if self.noise > 0.0 { watts * (1.0 + self.noise * error()) } else { watts }
        };
        match self.shows {
            Shows::Energy { range } => (wave.joules(made_ns) * 1e6).floor() / 1e6 % range,
            Shows::Power => power(wave.watts(made_ns)),
            Shows::MeanPower => {
                let before_ns = made_ns.saturating_sub(self.period_ns);
                let seconds = (made_ns - before_ns) as f64 / 1e9;
                power((wave.joules(made_ns) - wave.joules(before_ns)) / seconds.max(1e-9))
            }
        }
    }

    /// Looks every `every_ns` from `begin_ns` to `end_ns`, up to `jitter_ns` late.
    pub fn samples(
        &self,
        wave: &Wave,
        (begin_ns, end_ns): (u64, u64),
        (every_ns, jitter_ns): (u64, u64),
        random: &mut SplitMix,
    ) -> Vec<Sample> {
        (begin_ns..=end_ns)
            .step_by(every_ns as usize)
            .map(|due_ns| {
                let t_ns = due_ns + random.below(jitter_ns as usize + 1) as u64;
                Sample {
                    t_ns,
                    values: vec![(3, Value::Present(self.value(wave, t_ns)))],
                    ..Sample::default()
                }
            })
            .collect()
    }
}

/// What is told of one window.
pub fn told(channel: &Channel, samples: &[Sample], window: Window) -> PhaseEnergy {
    let stretch = Stretch { phase: Phase::Decode, windows: &[window], tokens: 100, idle: None };
    phase_energy(&stretch, channel, samples)
}
