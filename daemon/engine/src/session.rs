//! A loaded model with a context that grows pass by pass.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use slmscope_profiles::plan::Plan;
use slmscope_profiles::spec::Lengths;

use crate::clock::Clock;
use crate::error::{EngineError, LoadError};
use crate::executor::{EngineMemory, Executor, forward};
use crate::recorder::Recorder;

/// A model in memory and the tokens it has seen.
///
/// A prompt is fed in chunks of at most [`Session::rows`] ids, a generated token as one id.
/// The worker begins the recorder's token, runs the pass, samples and takes what was recorded:
///
/// ```no_run
/// # use std::sync::atomic::AtomicBool;
/// # use slmscope_engine::{clock::*, error::EngineError, recorder::Recorder, sampler, session::Session};
/// # use slmscope_profiles::span::SpanName;
/// # fn decode(session: &mut Session, mut id: u32, cancel: &AtomicBool) -> Result<(), EngineError> {
/// let clock = Monotonic;
/// let mut recorder = Recorder::new(session.plan().steps.len());
/// let mut border = clock.now_ns();
/// for _ in 0..64 {
///     recorder.begin(border);
///     session.forward(&[id], &mut recorder, &clock, cancel)?;
///     let before = clock.now_ns();
///     id = sampler::greedy(session.logits())?;
///     border = clock.now_ns();
///     recorder.span(SpanName::Sample, before, border);
///     // recorder.recorded() holds the token, which ends at `border`.
/// }
/// # Ok(())
/// # }
/// ```
pub struct Session {
    plan: Arc<Plan>,
    executor: Box<dyn Executor>,
    max_context: u32,
}

impl Session {
    pub(crate) fn new(plan: Arc<Plan>, executor: Box<dyn Executor>, max_context: u32) -> Self {
        Self { plan, executor, max_context }
    }

    /// The steps of a pass.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Tokens in the cache.
    pub fn context(&self) -> u32 {
        self.executor.context()
    }

    /// Most ids of a pass: how long the chunks of a prompt are.
    pub fn rows(&self) -> usize {
        self.executor.rows()
    }

    /// Runs one pass over `ids`, which follow the tokens already seen, and keeps them in the cache.
    ///
    /// # Errors
    /// See [`EngineError`]; the context is then as it was.
    pub fn forward<C: Clock>(
        &mut self,
        ids: &[u32],
        recorder: &mut Recorder,
        clock: &C,
        cancel: &AtomicBool,
    ) -> Result<(), EngineError> {
        let context = self.executor.context();
        forward(&self.plan, &mut *self.executor, ids, context, recorder, clock, cancel)
    }

    /// Logits after the last token of the last pass, one a vocabulary entry.
    pub fn logits(&self) -> &[f32] {
        self.executor.logits()
    }

    /// Forgets all but the first `context` tokens and returns how many are left: fewer if there were not so many, or if
    /// the model has recurrent state that cannot be rewound there (see [`Executor::truncate`]).
    pub fn rewind(&mut self, context: u32) -> u32 {
        self.executor.truncate(context)
    }

    /// Makes the current position one that [`rewind`](Self::rewind) can reach with any model.
    pub fn keep(&mut self) {
        self.executor.keep();
    }

    /// Forgets all tokens and makes room for a sequence, keeping the weights.
    ///
    /// # Errors
    /// [`LoadError::Context`] for more than the model was made for; [`LoadError::Kernel`] if there is no
    /// memory, after which the session has no room at all.
    pub fn reserve(&mut self, lengths: impl Into<Lengths>) -> Result<(), LoadError> {
        let lengths = lengths.into();
        if !(1..=self.max_context).contains(&lengths.total) {
            return Err(LoadError::Context { asked: lengths.total, max: self.max_context });
        }
        self.executor.reserve(&self.plan, lengths)
    }

    /// The memory that it holds.
    pub fn memory(&self) -> EngineMemory {
        self.executor.memory()
    }
}
