//! Campaigns: runs of several models, formats, threads or machines, and what they say together.
//!
//! ```text
//! Sweep ──▶ SweepPlan ──▶ a run of each Point ──▶ Outcome ──▶ Swept: figures of all, front, scatter
//! file, flags  points, order
//!
//! result of each run ──▶ Candidate ──┬──▶ Choice: the best one by a measure, under limits
//!                        figures     └──▶ Front: those that no other one beats in everything
//! ```
//!
//! A comparison of two runs of the same thing is [`crate::compare`]'s: it looks for small differences. Here the runs are
//! of different things, and what is asked is which of them to take.

mod amount;
mod candidate;
mod choice;
mod front;
mod measure;
mod outcome;
mod plan;
mod presets;
mod shares;
mod sweep;
#[cfg(test)]
mod tests;
mod values;

pub use amount::BadAmount;
pub use candidate::{Candidate, Figure, UnlikeWork, unlike_work};
pub use choice::{BadLimit, Choice, LeftOut, Limit, choose};
pub use front::{Front, front};
pub use measure::{Better, Measure};
pub use outcome::{FRONT, OUTCOME_SCHEMA, Outcome, Scatter, Swept};
pub use plan::{Point, PointRun, SWEEP_SCHEMA, SweepPlan};
pub use presets::{PRESETS, Preset};
pub use shares::{ModuleShare, PhaseShares};
pub use sweep::{BadSweep, MOST_RUNS, Order, Schedule, Sweep};
