//! Where the time to the first token went: from the job's submission to the first token that was measured.
//!
//! ```text
//! submitted ─ preparing ─ loading ──────────────── warmup ─────────── measuring ─────────▶ first token
//! │  queue   │ idle power │ process │ open, weights │ roofs │ warm-up  │ prefill │ sample  │
//!              slmscope's own         the model's     own     the model's
//! ```
//!
//! The daemon marks each state of a job, the worker reports what loading took and when each phase began and ended, all on
//! one clock. What lies between is a row of its own: the rows add up to the whole.

use serde::{Deserialize, Serialize};

use crate::job::{JobState, Span};
use crate::phase::Phase;
use crate::profile::LoadTimes;

/// What a stretch of time was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Other jobs ran.
    Queue,
    /// Power is measured while nothing runs, on machines that measure it.
    IdlePower,
    /// Starting the worker's process, and filling the context to the depth that was asked for.
    Process,
    /// Reading headers or a configuration, and planning the steps.
    Open,
    /// Mapping, reading, quantizing or making the weights.
    Weights,
    /// Waiting for the tokenizer, which is read on a thread of its own.
    Tokenizer,
    /// Measuring what the machine can do at most.
    Roofs,
    /// Unmeasured repetitions.
    Warmup,
    /// The prompt, or without one the first decode step.
    Prefill,
    /// Choosing the first token.
    Sample,
    /// What none of these explains: messages between the processes, readings of the machine.
    Unattributed,
}

impl Stage {
    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::IdlePower => "idle_power",
            Self::Process => "process",
            Self::Open => "open",
            Self::Weights => "weights",
            Self::Tokenizer => "tokenizer",
            Self::Roofs => "roofs",
            Self::Warmup => "warmup",
            Self::Prefill => "prefill",
            Self::Sample => "sample",
            Self::Unattributed => "unattributed",
        }
    }

    /// Whether any engine would have to do it; the rest is waiting and measuring.
    pub fn is_of_the_model(self) -> bool {
        matches!(
            self,
            Self::Process
                | Self::Open
                | Self::Weights
                | Self::Tokenizer
                | Self::Warmup
                | Self::Prefill
                | Self::Sample
        )
    }
}

/// What is known of a job's beginning.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// When it was submitted, CLOCK_MONOTONIC ns; `None` if that is not known.
    pub submitted_ns: Option<u64>,
    /// When it entered each state, CLOCK_MONOTONIC ns, in order.
    pub states: &'a [(JobState, u64)],
    /// Its phases, in order.
    pub spans: &'a [Span],
    /// What loading took; `None` if the weights were loaded before.
    pub load: Option<LoadTimes>,
}

/// The time to the first token, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FirstToken {
    /// From the submission, or the first state that is known, to the first measured token, ns.
    pub total_ns: u64,
    /// Of that what any engine would have to do, ns.
    pub model_ns: u64,
    /// All of it by stage, in their order. The times add up to the total.
    pub stages: Vec<StageTime>,
}

/// One stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StageTime {
    /// Which.
    pub stage: Stage,
    /// What it took, ns.
    pub ns: u64,
}

/// Why it cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoFirstToken {
    /// Nothing was measured.
    #[error("no token was measured")]
    NoToken,
    /// The states are not recorded.
    #[error("the recording does not say when the job began to load; record it with this version")]
    NoStates,
}

impl FirstToken {
    /// Takes a job's beginning apart.
    ///
    /// # Errors
    /// If no token was measured, or the states are not known.
    pub fn of(beginning: Beginning<'_>) -> Result<Self, NoFirstToken> {
        let Beginning { submitted_ns, states, spans, load } = beginning;
        let first = spans
            .iter()
            .find(|span| matches!(span.phase, Phase::Prefill | Phase::Decode))
            .ok_or(NoFirstToken::NoToken)?;
        // Without a prompt the first token is that of the first step.
        let (end_ns, sample_ns) = match first.phase {
            Phase::Prefill => (first.end_ns, first.sample_ns),
            _ => (first.token_ends_ns.first().copied().unwrap_or(first.end_ns), 0),
        };
        let at = |wanted: JobState| states.iter().find(|(state, _)| *state == wanted).map(|(_, at)| *at);
        let (loading, warmup) =
            at(JobState::Loading).zip(at(JobState::Warmup)).ok_or(NoFirstToken::NoStates)?;
        let preparing = at(JobState::Preparing).unwrap_or(loading);
        let begin_ns = submitted_ns.unwrap_or(preparing).min(preparing);
        let warm: Vec<&Span> = spans.iter().filter(|span| span.phase == Phase::Warmup).collect();
        let warm_begin = warm.first().map_or_else(|| at(JobState::Measuring), |span| Some(span.begin_ns));
        let load = load.unwrap_or_default();
        let between = |from: u64, to: u64| to.saturating_sub(from);
        let prefill_ns = between(first.begin_ns, end_ns).saturating_sub(sample_ns);
        let stages = [
            (Stage::Queue, between(begin_ns, preparing)),
            (Stage::IdlePower, between(preparing, loading)),
            (Stage::Process, between(loading, warmup).saturating_sub(load.total_ns())),
            (Stage::Open, load.open_ns),
            (Stage::Weights, load.weights_ns),
            (Stage::Tokenizer, load.waited_ns),
            (Stage::Roofs, warm_begin.map_or(0, |begin| between(warmup, begin))),
            (Stage::Warmup, warm.iter().fold(0, |sum: u64, span| sum.saturating_add(span.wall_ns()))),
            (Stage::Prefill, prefill_ns),
            (Stage::Sample, sample_ns),
        ];
        let total_ns = between(begin_ns, end_ns);
        let known = stages.iter().fold(0, |sum: u64, (_, ns)| sum.saturating_add(*ns));
        let rest = [(Stage::Unattributed, total_ns.saturating_sub(known))];
        let stages: Vec<StageTime> =
            stages.into_iter().chain(rest).map(|(stage, ns)| StageTime { stage, ns }).collect();
        let of_model = stages.iter().filter(|time| time.stage.is_of_the_model());
        let model_ns = of_model.fold(0, |sum: u64, time| sum.saturating_add(time.ns));
        Ok(Self { total_ns, model_ns, stages })
    }

    /// What a stage took, ns.
    pub fn ns(&self, stage: Stage) -> u64 {
        self.stages.iter().find(|time| time.stage == stage).map_or(0, |time| time.ns)
    }

    /// The stage that took longest of what any engine would have to do.
    pub fn longest(&self) -> Option<StageTime> {
        self.stages.iter().copied().filter(|time| time.stage.is_of_the_model()).max_by_key(|time| time.ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A run in ms: 5 queued, 2000 idle, 30 for the process, 10 + 200 + 40 loading, 500 of roofs, 100 warm-up, 80 prefill
    /// with 3 of sampling, and 2 between the states.
    fn states() -> Vec<(JobState, u64)> {
        let at = |ms| 1_000 * MS + ms * MS;
        vec![
            (JobState::Queued, at(0)),
            (JobState::Preparing, at(5)),
            (JobState::Loading, at(2005)),
            (JobState::Warmup, at(2285)),
            (JobState::Measuring, at(2885)),
        ]
    }

    fn span(phase: Phase, begin_ms: u64, end_ms: u64, sample_ms: u64) -> Span {
        let (begin_ns, end_ns) = (1_000 * MS + begin_ms * MS, 1_000 * MS + end_ms * MS);
        let (job, repetition, tokens) = (1, 0, 8);
        let token_ends_ns = vec![begin_ns + 10 * MS, end_ns];
        Span { job, repetition, phase, begin_ns, end_ns, tokens, sample_ns: sample_ms * MS, token_ends_ns }
    }

    fn load(weights_ms: u64) -> LoadTimes {
        LoadTimes {
            open_ns: 10 * MS,
            weights_ns: weights_ms * MS,
            tokenizer_ns: Some(90 * MS),
            waited_ns: 40 * MS,
        }
    }

    fn of(states: &[(JobState, u64)], spans: &[Span], load: LoadTimes) -> Result<FirstToken, NoFirstToken> {
        FirstToken::of(Beginning { submitted_ns: Some(1_000 * MS), states, spans, load: Some(load) })
    }

    fn spans() -> Vec<Span> {
        vec![
            span(Phase::Warmup, 2785, 2885, 1),
            span(Phase::Prefill, 2887, 2967, 3),
            span(Phase::Decode, 2967, 3967, 5),
        ]
    }

    #[test]
    fn the_stages_add_up_to_the_time_to_the_first_token() {
        let found = of(&states(), &spans(), load(200)).unwrap();
        assert_eq!(found.total_ns, 2967 * MS);
        assert_eq!(found.stages.iter().map(|time| time.ns).sum::<u64>(), found.total_ns);
        let ms = |stage| found.ns(stage) / MS;
        let expected = [
            (Stage::Queue, 5),
            (Stage::IdlePower, 2000),
            (Stage::Process, 30),
            (Stage::Open, 10),
            (Stage::Weights, 200),
            (Stage::Tokenizer, 40),
            (Stage::Roofs, 500),
            (Stage::Warmup, 100),
            (Stage::Prefill, 77),
            (Stage::Sample, 3),
            (Stage::Unattributed, 2),
        ];
        for (stage, expected) in expected {
            assert_eq!(ms(stage), expected, "{stage:?}");
        }
        assert_eq!(found.model_ns / MS, 460);
        assert_eq!(found.longest().unwrap().stage, Stage::Weights);
    }

    /// A slow file, a large tokenizer and a cold worker are each in their own row.
    #[test]
    fn a_delay_is_in_the_row_of_its_stage() {
        let later = |by: u64| {
            let states: Vec<_> = states()
                .into_iter()
                .map(|(state, at)| (state, if at > 3_005 * MS { at + by * MS } else { at }))
                .collect();
            let spans: Vec<Span> = spans()
                .into_iter()
                .map(|span| Span { begin_ns: span.begin_ns + by * MS, end_ns: span.end_ns + by * MS, ..span })
                .collect();
            (states, spans)
        };
        let (states, spans) = later(300);
        let plain = load(200);
        for (stage, load) in [
            (Stage::Weights, load(500)),
            (Stage::Tokenizer, LoadTimes { waited_ns: 340 * MS, ..plain }),
            (Stage::Open, LoadTimes { open_ns: 310 * MS, ..plain }),
            (Stage::Process, plain),
        ] {
            let found = of(&states, &spans, load).unwrap();
            assert_eq!(found.longest().unwrap().stage, stage);
            assert_eq!(found.stages.iter().map(|time| time.ns).sum::<u64>(), found.total_ns);
            assert_eq!(found.ns(Stage::Unattributed), 2 * MS);
        }
    }

    #[test]
    fn without_a_prompt_the_first_step_gives_the_first_token() {
        let decode = [span(Phase::Decode, 2887, 3887, 5)];
        let found = of(&states(), &decode, load(200)).unwrap();
        assert_eq!((found.ns(Stage::Prefill), found.ns(Stage::Sample)), (10 * MS, 0));
        assert_eq!(found.ns(Stage::Roofs), 600 * MS, "without warm-up until the measuring");
    }

    #[test]
    fn without_tokens_or_states_the_reason_is_told() {
        assert_eq!(of(&states(), &[], load(1)), Err(NoFirstToken::NoToken));
        assert_eq!(of(&states()[..2], &spans(), load(1)), Err(NoFirstToken::NoStates));
    }
}
