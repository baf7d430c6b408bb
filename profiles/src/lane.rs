//! Lanes: where the ops of a batch ran, one after the other.
//!
//! A lane is a group of host threads that computes ops together, or one queue of a device. Each lane has books
//! of its own ([`crate::books`]). Lane 0 is the host's: the thread that issues the work, with the threads that
//! help it; its books are wall time. The time in which it submits work to a device and waits for it are named
//! spans of lane 0, so the time of a device lane is never added to the host's.

use serde::{Deserialize, Serialize};

/// Index of a lane in its plan's list.
pub type LaneId = u16;

/// The lane of the host threads, whose books are wall time.
pub const HOST_LANE: LaneId = 0;

/// A lane of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its index in the plan's list.
    pub lane: LaneId,
    /// What people call it.
    pub name: String,
    /// What computes there.
    #[serde(flatten)]
    pub kind: LaneKind,
}

/// What computes in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LaneKind {
    /// Threads of the host.
    Host {
        /// How many.
        threads: u32,
    },
    /// A queue of a device.
    Device {
        /// The device's name.
        device: String,
        /// Which of its queues.
        queue: u32,
    },
    /// Something that this build does not know.
    #[serde(other)]
    Unknown,
}

impl Lane {
    /// Lane 0 of an engine that computes on `threads` threads of the host.
    pub fn host(threads: u32) -> Self {
        Self { lane: HOST_LANE, name: "engine threads".to_owned(), kind: LaneKind::Host { threads } }
    }
}
