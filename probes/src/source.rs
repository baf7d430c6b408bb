//! What the sampler drives: sources, the cost classes they belong to, and how often each class is read.

use std::time::Duration;

use slmscope_profiles::channel::{ChannelId, Value};

/// How much detail is needed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Nobody is attached and nothing runs.
    Idle,
    /// A client is attached.
    Client,
    /// A workload is being measured.
    Workload,
}

/// What a reading costs, and so how often it may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Microseconds, no device access: energy counters, CPU clocks of our processes.
    Fast,
    /// Tens of microseconds: `/proc/stat`, memory of our processes.
    Medium,
    /// What changes slowly or costs much: pressure, memory of the machine, temperatures, fans, batteries.
    Slow,
    /// Power sensors behind a bus or a firmware mailbox, 0.5 ms and more each.
    Bus,
    /// Graphics processors, through their driver's library.
    Gpu,
}

impl Group {
    /// Time between two readings at a pace.
    pub(crate) fn period(self, pace: Pace) -> Duration {
        let ms = match (self, pace) {
            (Self::Fast, Pace::Workload) => 10,
            (Self::Fast | Self::Medium | Self::Gpu | Self::Bus, Pace::Client)
            | (Self::Medium | Self::Gpu | Self::Bus, Pace::Workload) => 100,
            (Self::Slow, Pace::Client | Pace::Workload) => 500,
            (Self::Fast | Self::Medium, Pace::Idle) => 1000,
            (Self::Slow | Self::Gpu | Self::Bus, Pace::Idle) => 5000,
        };
        Duration::from_millis(ms)
    }
}

/// Reads one or more channels together.
pub(crate) trait Source: Send {
    /// The channels that [`read`](Self::read) answers for.
    fn channels(&self) -> Vec<ChannelId>;

    /// Reads them all and appends one value for each; never panics, never invents a value.
    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>);

    /// Called when the pace changes; a source that keeps a device awake closes it when idle.
    fn set_pace(&mut self, _pace: Pace) {}

    /// Whether it can be read a thousand times a second: a counter in memory or a register, no bus and no
    /// mailbox.
    fn supports_khz(&self) -> bool {
        false
    }

    /// Takes a source of several sensors apart, so that one that hangs does not silence the others. `None` if
    /// it is whole.
    fn parts(&mut self) -> Option<Vec<Box<dyn Source>>> {
        None
    }
}

/// Sources that one thread reads in turn, at the pace of one group.
pub(crate) struct Lane {
    /// Name of the thread and of the log lines, at most 15 bytes.
    pub(crate) name: &'static str,
    /// How often.
    pub(crate) group: Group,
    /// What.
    pub(crate) sources: Vec<Box<dyn Source>>,
}
