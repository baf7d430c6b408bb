//! Progress of a job on standard error: one line that is overwritten on a terminal, separate lines elsewhere.
//!
//! What is said is decided here, from the daemon's frames alone; where it is printed, by [`ProgressLine`].

use std::time::{Duration, Instant};

use slmscope_profiles::display;
use slmscope_profiles::job::{Job, JobId, JobState, Progress as Step, Span};
use slmscope_profiles::op::Phase;
use slmscope_profiles::workload::OverheadMode;

use super::super::jobs::{plain, shorter_model};
use super::waiting::Waiting;
use crate::progress::ProgressLine;

/// Prints a job's progress.
pub struct Progress {
    line: ProgressLine,
    /// Prints problems only.
    quiet: bool,
    course: Course,
    waiting: Waiting,
    /// When the last phase ended.
    at: Instant,
    /// Something else is on the line.
    is_held: bool,
}

impl Progress {
    /// Prints everything on a terminal; elsewhere only the job's states, and not even these if a program reads the
    /// output (`machine`).
    pub fn new(machine: bool) -> Self {
        let line = ProgressLine::new();
        let quiet = machine && !line.on_terminal();
        Self {
            line,
            quiet,
            course: Course::default(),
            waiting: Waiting::default(),
            at: Instant::now(),
            is_held: false,
        }
    }

    /// A job's new state, of this job or another one.
    pub fn job(&mut self, job: &Job, own: JobId) {
        if let Some(behind) = self.waiting.job(job, own, monotonic_ns()) {
            // A program that waits for the result must not wait in silence.
            self.note(&behind);
        }
        if job.job != own {
            return;
        }
        if let Some(state) = self.course.job(job) {
            if self.line.on_terminal() {
                self.refresh();
            } else if !self.quiet {
                note_line!("{}: {state}", plain(&job.model));
            }
        }
    }

    /// The progress of a stage.
    pub fn step(&mut self, step: &Step) {
        self.course.step(step);
        self.refresh();
    }

    /// A phase that ended.
    pub fn span(&mut self, span: &Span) {
        self.course.span(span);
        self.at = Instant::now();
        self.refresh();
    }

    /// Whether a measured phase has ended.
    pub fn has_measured(&self) -> bool {
        self.course.has_measured()
    }

    /// How long to wait for a frame before [`tick`](Self::tick); `None` where nothing is drawn.
    pub fn period(&self) -> Option<Duration> {
        self.line.on_terminal().then_some(Duration::from_secs(1))
    }

    /// Some time has passed without a frame.
    pub fn tick(&mut self) {
        self.refresh();
    }

    /// A note that is always printed.
    pub fn note(&mut self, text: &str) {
        self.clear();
        note_line!("slmscope: {}", display::printable(text));
    }

    /// Leaves the line to something else.
    pub fn hold(&mut self) {
        self.clear();
        self.is_held = true;
    }

    /// Takes the line back, once it is empty.
    pub fn go_on(&mut self) {
        self.is_held = false;
    }

    /// Removes the line from the terminal.
    pub fn clear(&mut self) {
        self.line.clear();
    }

    fn refresh(&mut self) {
        if let Some(text) = self.course.text(self.at.elapsed()).filter(|_| !self.is_held) {
            self.line.show(&text);
        }
    }
}

/// CLOCK_MONOTONIC, ns, by which jobs say when they were submitted.
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Columns of a model's name, so that the rest fits 80.
const NAME_COLUMNS: usize = 20;

/// How far a job is.
#[derive(Debug, Default)]
struct Course {
    job: Option<Job>,
    step: Option<Step>,
    /// The last phase that ended.
    last: Option<Span>,
    /// Measured phases that ended, and their time, ns.
    measured: (u64, u64),
    /// Of these, decode.
    decoded_ns: u64,
    /// Steps of decode in it.
    decoded: u64,
}

impl Course {
    /// Notes a state. Returns it in words if it is another one than before, and no end.
    fn job(&mut self, job: &Job) -> Option<String> {
        let before = self.job.replace(job.clone()).map(|job| (job.state, job.repetition, job.turns));
        if before.is_some_and(|(.., turns)| turns != job.turns) {
            (self.measured, self.decoded_ns, self.decoded, self.last) = ((0, 0), 0, 0, None);
        }
        if before.map(|(state, repetition, _)| (state, repetition)) == Some((job.state, job.repetition)) {
            return None;
        }
        self.step = None;
        self.stage()
    }

    /// The state in words; `None` for ends, and where a repetition says more.
    fn stage(&self) -> Option<String> {
        let job = self.job.as_ref()?;
        let text = match (job.state, job.repetition) {
            (state, _) if state.is_final() => return None,
            // What it waits for has a line of its own.
            (JobState::Queued, _) if job.ahead > 0 => return None,
            // Each repetition has its own line.
            (JobState::Measuring, None) => return None,
            (JobState::Measuring, Some(repetition)) => {
                let of = job.workload.repetitions.map_or_else(String::new, |all| format!(" of {all}"));
                format!("measuring, repetition {}{of}", u64::from(repetition) + 1)
            }
            // The stage is passed through, and nothing is measured in it.
            (JobState::Overhead, _) if job.workload.overhead == OverheadMode::Off => return None,
            (JobState::Overhead, _) => "measuring the recorder's own cost".to_owned(),
            (state, _) => state.as_str().to_owned(),
        };
        Some(text)
    }

    fn step(&mut self, step: &Step) {
        self.step = Some(step.clone());
    }

    fn span(&mut self, span: &Span) {
        if matches!(span.phase, Phase::Prefill | Phase::Decode) {
            let (phases, ns) = &mut self.measured;
            (*phases, *ns) = (*phases + 1, ns.saturating_add(span.wall_ns()));
            if span.phase == Phase::Decode {
                self.decoded_ns = self.decoded_ns.saturating_add(span.wall_ns());
                self.decoded = self.decoded.saturating_add(span.tokens.into());
            }
            self.last = Some(span.clone());
        }
        self.step = None;
    }

    fn has_measured(&self) -> bool {
        self.measured.0 > 0
    }

    /// The line for a terminal, `since` the last phase ended; `None` where there is nothing to say.
    fn text(&self, since: Duration) -> Option<String> {
        let job = self.job.as_ref()?;
        let mut parts = vec![self.stage()?];
        parts.extend(self.left(since));
        parts.extend(self.step.as_ref().map(share));
        if self.step.is_none() && job.state == JobState::Measuring {
            parts.extend(self.last.as_ref().map(rate));
        }
        Some(format!("{}: {}", shorter_model(&job.model, NAME_COLUMNS), parts.join(", ")))
    }

    /// How long it may still take, as far as the repetitions so far say.
    fn left(&self, since: Duration) -> Option<String> {
        let job = self.job.as_ref().filter(|job| !job.workload.looped)?;
        let workload = &job.workload;
        let repetition = match (job.state, job.repetition) {
            (JobState::Measuring, Some(repetition)) => u64::from(repetition),
            _ => return None,
        };
        let measured_ns = self.measured.1;
        let whole_ns = measured_ns.checked_div(repetition).filter(|&ns| ns > 0)?;
        let overhead_ns = match workload.overhead {
            OverheadMode::Off => 0,
            OverheadMode::Auto => self.decoded_ns.min(MAX_OVERHEAD_NS),
            OverheadMode::Full => {
                self.decoded_ns.checked_div(self.decoded).unwrap_or(0).saturating_mul(FULL_OVERHEAD_TOKENS)
            }
        };
        let (repetitions, is_least) = match workload.repetitions {
            Some(all) => (u64::from(all), false),
            None => (LEAST_REPETITIONS.max(repetition + 1), true),
        };
        let all_ns = whole_ns.saturating_mul(repetitions).saturating_add(overhead_ns);
        let passed_ns = measured_ns.saturating_add(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        let left_ns = all_ns.saturating_sub(passed_ns);
        let seconds = left_ns.div_ceil(1_000_000_000);
        let more = if is_least { " or more" } else { "" };
        Some(format!("about {}{more} left", whole_seconds(seconds)))
    }
}

/// Repetitions that a run without a given number has at least.
const LEAST_REPETITIONS: u64 = slmscope_profiles::stats::MIN_VALUES;
/// What the daemon allows for measuring the recorder's cost: ns, or tokens if all of it was asked for.
const MAX_OVERHEAD_NS: u64 = 6_000_000_000;
const FULL_OVERHEAD_TOKENS: u64 = 1024;

/// `9 s`, `2 m 05 s`.
fn whole_seconds(seconds: u64) -> String {
    if seconds < 120 {
        return format!("{seconds} s");
    }
    display::duration(seconds.saturating_mul(1_000_000_000))
}

/// `load 45.0 % of 230 MiB`.
fn share(step: &Step) -> String {
    let done = match step.total {
        Some(total) if total > 0 => {
            let share = display::rough_share(step.done as f64 / total as f64);
            match step.phase {
                Phase::Load => format!("{share} of {}", display::bytes(total)),
                _ => format!("{share} of {total} tokens"),
            }
        }
        _ => step.done.to_string(),
    };
    format!("{} {done}", step.phase.as_str())
}

/// `decode 48.1 tok/s`.
fn rate(span: &Span) -> String {
    let rate = f64::from(span.tokens) / (span.wall_ns().max(1) as f64 / 1e9);
    format!("{} {} tok/s", span.phase.as_str(), display::significant(rate))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{job, span};
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn measuring(repetition: u32) -> Job {
        Job { repetition: Some(repetition), ..job(JobState::Measuring) }
    }

    #[test]
    fn each_state_and_repetition_is_said_once() {
        let mut course = Course::default();
        assert_eq!(course.job(&job(JobState::Loading)).as_deref(), Some("loading"));
        assert_eq!(course.job(&job(JobState::Loading)), None);
        assert_eq!(course.job(&job(JobState::Measuring)), None);
        assert_eq!(course.job(&measuring(0)).as_deref(), Some("measuring, repetition 1 of 4"));
        assert_eq!(course.job(&measuring(1)).as_deref(), Some("measuring, repetition 2 of 4"));
        assert_eq!(
            course.job(&job(JobState::Overhead)).as_deref(),
            Some("measuring the recorder's own cost")
        );
        assert_eq!(course.job(&job(JobState::Done)), None);
    }

    /// It said that it measures the cost.
    #[test]
    fn the_recorders_cost_is_not_mentioned_where_it_is_not_measured() {
        let mut off = job(JobState::Overhead);
        off.workload.overhead = OverheadMode::Off;
        assert_eq!(Course::default().job(&off), None);
    }

    #[test]
    fn the_time_left_follows_from_the_repetitions_so_far() {
        let mut course = Course::default();
        let text = |course: &Course, ms| course.text(Duration::from_millis(ms)).unwrap_or_default();
        course.job(&measuring(0));
        assert_eq!(text(&course, 0), "m: measuring, repetition 1 of 4");
        course.span(&span(Phase::Prefill, 0, SECOND));
        course.span(&span(Phase::Decode, 0, 4 * SECOND));
        course.job(&measuring(1));
        // Three more of 5 s, and 4 s for the recorder's cost.
        let said = "m: measuring, repetition 2 of 4, about 19 s left, decode 25.0 tok/s";
        assert_eq!(text(&course, 0), said);
        assert!(text(&course, 2_500).contains("about 17 s left"));
        assert!(text(&course, 600_000).contains("about 0 s left"));
        course.step(&Step { job: 7, phase: Phase::Decode, done: 50, total: Some(100) });
        assert!(text(&course, 0).contains("decode 50 % of 100 tokens"));
    }

    #[test]
    fn without_a_number_of_repetitions_the_least_is_counted_and_a_loop_has_no_end() {
        let mut course = Course::default();
        let mut open = measuring(1);
        open.workload.repetitions = None;
        open.workload.overhead = OverheadMode::Off;
        course.span(&span(Phase::Decode, 0, SECOND));
        course.job(&open);
        assert!(course.text(Duration::ZERO).unwrap().contains("about 5 s or more left"));
        open.workload.looped = true;
        course.job(&open);
        assert!(!course.text(Duration::ZERO).unwrap().contains("left"));
    }

    /// It was cut in the middle of a word at 80 columns.
    #[test]
    fn on_80_columns_whole_parts_are_left_of_a_long_line() {
        let mut course = Course::default();
        let model = "/models/SmolLM2-135M-Instruct-with-a-long-name.Q4_1.gguf".to_owned();
        let mut long = Job { model, ..measuring(1) };
        long.workload.repetitions = None;
        course.span(&span(Phase::Decode, 0, 400 * SECOND));
        course.job(&long);
        course.step(&Step { job: 7, phase: Phase::Decode, done: 50, total: Some(100) });
        let text = course.text(Duration::ZERO).unwrap();
        assert_eq!(
            crate::width::cut_parts(&text, 79),
            "SmolLM2-135M-Instru…: measuring, repetition 2, about 33 m 26 s or more left…"
        );
        assert!(text.ends_with("left, decode 50 % of 100 tokens"), "{text}");
    }

    #[test]
    fn warmup_measures_nothing() {
        let mut course = Course::default();
        course.job(&job(JobState::Warmup));
        course.span(&span(Phase::Warmup, 0, SECOND));
        assert!(!course.has_measured());
        course.span(&span(Phase::Prefill, 0, SECOND));
        assert!(course.has_measured());
    }
}
