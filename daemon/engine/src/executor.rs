//! The executor's interface, and the one loop that runs a plan and records it.
//!
//! The loop reads the clock at the begin and at the end of every step. One read between two steps would cost half as
//! much, but would count the time between them (dispatch, the cancel check, a preemption) as part of a step. With two
//! reads it is the gap of the next event.

mod sequence;

pub(crate) use sequence::Sequence;

use std::sync::atomic::{AtomicBool, Ordering};

pub use slmscope_profiles::engine_memory::EngineMemory;
use slmscope_profiles::plan::Plan;
use slmscope_profiles::spec::Lengths;

use crate::clock::Clock;
use crate::error::{EngineError, LoadError};
use crate::recorder::Recorder;

/// Computes the steps of a plan.
pub trait Executor {
    /// Starts a pass over `ids` after `context` tokens in the cache; tokens in the cache after those are overwritten.
    ///
    /// # Errors
    /// Ids outside the vocabulary, more rows or tokens than there is room for.
    fn begin(&mut self, ids: &[u32], context: u32) -> Result<(), EngineError>;

    /// Runs step `index` of `plan`, the plan that the executor was made for.
    ///
    /// # Errors
    /// An error of a kernel.
    fn step(&mut self, plan: &Plan, index: usize) -> Result<(), EngineError>;

    /// Tokens in the cache.
    fn context(&self) -> u32;

    /// Most ids of a pass.
    fn rows(&self) -> usize;

    /// Logits of the last row of the last pass, one a vocabulary entry.
    fn logits(&self) -> &[f32];

    /// Forgets all but the first `context` tokens, and returns how many are left.
    ///
    /// Recurrent state cannot be rewound token by token. A model with recurrent state rewinds to the last of these
    /// positions that is not after `context`: the end of the tokens, the begin of the last pass, the position of the
    /// last [`keep`](Self::keep), the begin of the sequence.
    fn truncate(&mut self, context: u32) -> u32;

    /// Remembers the current position for [`truncate`](Self::truncate).
    fn keep(&mut self);

    /// Forgets all tokens and makes room for a sequence of these lengths.
    ///
    /// # Errors
    /// [`LoadError::Memory`] and [`LoadError::Kernel`] if there is no memory, after which there is no room at
    /// all.
    fn reserve(&mut self, plan: &Plan, lengths: Lengths) -> Result<(), LoadError>;

    /// The memory that it holds.
    fn memory(&self) -> EngineMemory;
}

/// Runs all steps of `plan` over `ids` after `context` tokens, recording each if the recorder is on.
///
/// The caller begins the recorder's token; the time until the first step is its first gap.
///
/// # Errors
/// [`EngineError::Cancelled`] if `cancel` is up before a step, and what the executor refuses. The pass is
/// then incomplete and its tokens are not in the cache.
pub fn forward<E: Executor + ?Sized, C: Clock>(
    plan: &Plan,
    executor: &mut E,
    ids: &[u32],
    context: u32,
    recorder: &mut Recorder,
    clock: &C,
    cancel: &AtomicBool,
) -> Result<(), EngineError> {
    executor.begin(ids, context)?;
    let recording = recorder.is_on();
    for index in 0..plan.steps.len() {
        if cancel.load(Ordering::Relaxed) {
            return Err(EngineError::Cancelled);
        }
        if recording {
            let begin = clock.now_ns();
            executor.step(plan, index)?;
            recorder.close(index as u16, begin, clock.now_ns());
        } else {
            executor.step(plan, index)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::format::{KvFormat, WeightFormat};
    use slmscope_profiles::span::{NamedSpan, SpanName};

    use super::*;
    use crate::clock::scripted::Scripted;
    use crate::testing::tiny_spec;

    /// Every step takes `step_ns`; `extra` delays one step by its index.
    struct Timed<'a> {
        clock: &'a Scripted,
        step_ns: u64,
        extra: Option<(usize, u64)>,
        ran: usize,
        cancel_after: Option<(usize, &'a AtomicBool)>,
    }

    impl Executor for Timed<'_> {
        fn begin(&mut self, _: &[u32], _: u32) -> Result<(), EngineError> {
            self.clock.pass(7);
            Ok(())
        }

        fn step(&mut self, _: &Plan, index: usize) -> Result<(), EngineError> {
            self.clock.pass(self.step_ns);
            if let Some((_, ns)) = self.extra.filter(|(at, _)| *at == index) {
                self.clock.pass(ns);
            }
            self.ran += 1;
            if let Some((_, flag)) = self.cancel_after.filter(|(at, _)| *at == index) {
                flag.store(true, Ordering::Relaxed);
            }
            Ok(())
        }

        fn context(&self) -> u32 {
            0
        }

        fn rows(&self) -> usize {
            1
        }

        fn logits(&self) -> &[f32] {
            &[]
        }

        fn truncate(&mut self, context: u32) -> u32 {
            context
        }

        fn keep(&mut self) {}

        fn reserve(&mut self, _: &Plan, _: Lengths) -> Result<(), LoadError> {
            Ok(())
        }

        fn memory(&self) -> EngineMemory {
            EngineMemory::default()
        }
    }

    /// A clock that passes time between two steps: before its `at`-th read.
    struct Delayed<'a> {
        inner: &'a Scripted,
        at: u64,
        ns: u64,
    }

    impl Clock for Delayed<'_> {
        fn now_ns(&self) -> u64 {
            if self.inner.reads() == self.at {
                self.inner.pass(self.ns);
            }
            self.inner.now_ns()
        }
    }

    fn plan() -> Plan {
        Plan::compile(&tiny_spec(), KvFormat::F32, |_| WeightFormat::F32)
    }

    fn timed(clock: &Scripted) -> Timed<'_> {
        Timed { clock, step_ns: 100, extra: None, ran: 0, cancel_after: None }
    }

    #[test]
    fn a_delay_inside_an_op_is_in_its_duration() {
        let (plan, clock) = (plan(), Scripted::default());
        let mut executor = Timed { extra: Some((3, 5000)), ..timed(&clock) };
        let mut recorder = Recorder::new(plan.steps.len());
        recorder.begin(0);
        forward(&plan, &mut executor, &[1], 0, &mut recorder, &clock, &AtomicBool::new(false)).unwrap();
        let events = recorder.recorded().unwrap().events;
        assert_eq!(events.len(), plan.steps.len());
        for (index, event) in events.iter().enumerate() {
            assert_eq!(usize::from(event.site), index);
            assert_eq!(event.duration, if index == 3 { 5100 } else { 100 });
            assert_eq!(event.gap, if index == 0 { 7 } else { 0 });
        }
    }

    #[test]
    fn a_delay_between_ops_is_in_the_gap_of_the_next() {
        let (plan, clock) = (plan(), Scripted::default());
        // Reads 0 and 1 close step 0, reads 2 and 3 step 1: read 4 begins step 2.
        let delayed = Delayed { inner: &clock, at: 4, ns: 9000 };
        let mut recorder = Recorder::new(plan.steps.len());
        recorder.begin(0);
        forward(&plan, &mut timed(&clock), &[1], 0, &mut recorder, &delayed, &AtomicBool::new(false))
            .unwrap();
        for (index, event) in recorder.recorded().unwrap().events.iter().enumerate() {
            assert_eq!(event.duration, 100);
            assert_eq!(event.gap, [7, 0, 9000].get(index).copied().unwrap_or(0));
        }
    }

    #[test]
    fn sampling_is_a_span_of_its_own_and_the_token_adds_up() {
        let (plan, clock) = (plan(), Scripted::default());
        let mut recorder = Recorder::new(plan.steps.len());
        recorder.begin(0);
        forward(&plan, &mut timed(&clock), &[1], 0, &mut recorder, &clock, &AtomicBool::new(false)).unwrap();
        let begin = clock.now_ns();
        clock.pass(333);
        let end = clock.now_ns();
        recorder.span(SpanName::Sample, begin, end);
        let recorded = recorder.recorded().unwrap();
        assert_eq!(recorded.spans, [NamedSpan { name: SpanName::Sample, ns: 333 }]);
        let ops: u64 = recorded.events.iter().map(|e| u64::from(e.gap) + u64::from(e.duration)).sum();
        assert_eq!(ops + 333, end);
    }

    #[test]
    fn a_recorder_that_is_off_reads_no_clock() {
        let (plan, clock) = (plan(), Scripted::default());
        let mut recorder = Recorder::new(plan.steps.len());
        recorder.set_on(false);
        let mut executor = timed(&clock);
        forward(&plan, &mut executor, &[1], 0, &mut recorder, &clock, &AtomicBool::new(false)).unwrap();
        assert_eq!((clock.reads(), executor.ran), (0, plan.steps.len()));
        assert_eq!(recorder.recorded(), None);
    }

    #[test]
    fn cancelling_ends_the_pass_before_the_next_step() {
        let (plan, clock, cancel) = (plan(), Scripted::default(), AtomicBool::new(false));
        let mut executor = Timed { cancel_after: Some((2, &cancel)), ..timed(&clock) };
        let mut recorder = Recorder::new(plan.steps.len());
        let result = forward(&plan, &mut executor, &[1], 0, &mut recorder, &clock, &cancel);
        assert!(matches!(result, Err(EngineError::Cancelled)));
        assert_eq!(executor.ran, 3);
    }
}
