//! What a daemon sent of late, so that a paused screen can go back to an earlier moment.
//!
//! ```text
//! frames ─▶ live
//!    └────▶ tape: base ◀─ the oldest, when there is no room ─ [frame frame frame …]
//!                  └─ a copy, and the frames up to a moment ─▶ what is shown
//! ```
//!
//! Single op events are not on the tape: their own history is kept beside it.

use std::collections::VecDeque;

use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::record::Record;
use slmscope_profiles::wire::{Frame, Talk};

use super::data::Data;

/// Most bytes of frames that are kept, as they lie in memory.
const MOST_BYTES: usize = 16 << 20;

/// A frame, and the moment to which it belongs.
#[derive(Debug, Clone)]
struct Taped {
    t_ns: u64,
    bytes: usize,
    /// A token or chunk of the host ends with it.
    ends_a_step: bool,
    frame: Box<Frame>,
}

/// The last frames, and what all frames before them came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Tape {
    base: Data,
    frames: VecDeque<Taped>,
    bytes: usize,
    clock_ns: u64,
}

/// When a frame was observed, ns; `None` for what has no time of its own.
fn time(frame: &Frame) -> Option<u64> {
    match frame {
        Frame::Summary(summary) => Some(summary.end_ns),
        Frame::Record(Record::Sample(sample)) => Some(sample.t_ns),
        _ => None,
    }
}

/// Bytes in memory, roughly.
fn size(frame: &Frame) -> usize {
    let content = match frame {
        Frame::Summary(summary) => {
            std::mem::size_of_val(summary.sites.as_slice())
                + std::mem::size_of_val(summary.token_ns.as_slice())
        }
        Frame::Record(Record::Sample(sample)) => std::mem::size_of_val(sample.values.as_slice()),
        Frame::Record(Record::Catalogue { channels }) => channels.len() * 512,
        Frame::Record(Record::Plan(plan)) => plan.sites.len() * 512,
        Frame::Talk(Talk::Result { .. }) => 64 << 10,
        _ => 0,
    };
    content + 512
}

impl Tape {
    /// Adds a frame that the live figures have taken.
    pub(super) fn add(&mut self, frame: Box<Frame>) {
        if matches!(*frame, Frame::Record(Record::Ops(_))) {
            return;
        }
        self.clock_ns = time(&frame).map_or(self.clock_ns, |t_ns| t_ns.max(self.clock_ns));
        let bytes = size(&frame);
        let ends_a_step = matches!(&*frame, Frame::Summary(summary) if summary.lane == HOST_LANE);
        self.frames.push_back(Taped {
            t_ns: time(&frame).unwrap_or(self.clock_ns),
            bytes,
            ends_a_step,
            frame,
        });
        self.bytes += bytes;
        while self.bytes > MOST_BYTES {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.bytes;
            self.base.take(&oldest.frame);
        }
    }

    /// Begins anew with these figures: what came before can no longer be continued.
    pub(super) fn restart(&mut self, live: &Data) {
        let base = Data { events: super::events::Events::default(), ..live.clone() };
        *self = Self { base, clock_ns: self.clock_ns, ..Self::default() };
    }

    /// The first moment and the last one that it can show, ns; `None` before anything with a time has come.
    pub(super) fn range_ns(&self) -> Option<(u64, u64)> {
        let mut times = self.frames.iter().map(|taped| taped.t_ns).filter(|&t_ns| t_ns > 0);
        Some((times.next()?, self.clock_ns))
    }

    /// Ends of the host's summaries, ns, in order.
    pub(super) fn steps(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.frames.iter().filter(|taped| taped.ends_a_step).map(|taped| taped.t_ns)
    }

    /// The figures at a moment, without single events.
    pub(super) fn until(&self, t_ns: u64) -> Data {
        let mut data = self.base.clone();
        self.frames.iter().filter(|taped| taped.t_ns <= t_ns).for_each(|taped| data.take(&taped.frame));
        data
    }
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::channel::Sample;

    use super::*;

    fn sample(t_ns: u64, values: usize) -> Box<Frame> {
        let values = vec![(0, slmscope_profiles::channel::Value::Present(1.0)); values];
        Box::new(Frame::Record(Record::Sample(Sample { t_ns, values, ..Sample::default() })))
    }

    #[test]
    fn a_tape_is_bounded_by_bytes_and_forgets_the_oldest_first() {
        let mut tape = Tape::default();
        assert_eq!(tape.range_ns(), None);
        for t_ns in 1..=2000 {
            tape.add(sample(t_ns, 1000));
        }
        let (first, last) = tape.range_ns().unwrap();
        assert!(first > 1 && last == 2000, "{first} {last}");
        assert!(tape.bytes <= MOST_BYTES);
        tape.restart(&Data::default());
        assert_eq!(tape.range_ns(), None);
    }
}
