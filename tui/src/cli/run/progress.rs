//! Progress of a job on standard error: one line that is overwritten on a terminal, separate lines elsewhere.

use slmscope_profiles::display;
use slmscope_profiles::job::{Job, JobState, Progress as Step, Span};
use slmscope_profiles::op::Phase;

use crate::progress::ProgressLine;

/// Prints a job's progress.
pub struct Progress {
    line: ProgressLine,
    /// Prints problems only.
    quiet: bool,
    last: Option<(JobState, Option<u32>)>,
}

impl Progress {
    /// Prints everything on a terminal; elsewhere only the job's states, and not even these if a program reads the
    /// output (`machine`).
    pub fn new(machine: bool) -> Self {
        let line = ProgressLine::new();
        let quiet = machine && !line.on_terminal();
        Self { line, quiet, last: None }
    }

    /// A job's new state.
    pub fn job(&mut self, job: &Job) {
        if self.last.replace((job.state, job.repetition)) == Some((job.state, job.repetition))
            || job.state.is_final()
        {
            return;
        }
        let text = match (job.state, job.repetition) {
            (JobState::Queued, _) if job.ahead > 0 => {
                format!("waiting for {}", display::plural(job.ahead.into(), "other job"))
            }
            (JobState::Measuring, Some(run)) => format!("measuring, repetition {}", run + 1),
            (JobState::Overhead, _) => "measuring the recorder's own cost".to_owned(),
            // Each repetition has its own line.
            (JobState::Measuring, None) => return,
            (state, _) => state.as_str().to_owned(),
        };
        self.print(&format!("{}: {text}", job.model), true);
    }

    /// The progress of a stage.
    pub fn step(&mut self, step: &Step) {
        let done = match step.total {
            Some(total) if total > 0 => {
                let share = display::share(step.done as f64 / total as f64);
                match step.phase {
                    Phase::Load => format!("{share} of {}", display::bytes(total)),
                    _ => format!("{share} of {total} tokens"),
                }
            }
            _ => step.done.to_string(),
        };
        self.print(&format!("{}: {done}", step.phase.as_str()), false);
    }

    /// A phase that ended.
    pub fn span(&mut self, span: &Span) {
        let rate = f64::from(span.tokens) / (span.wall_ns().max(1) as f64 / 1e9);
        let text = format!(
            "{} {}: {} tokens in {}, {} tokens/s",
            span.phase.as_str(),
            span.repetition + 1,
            span.tokens,
            display::duration(span.wall_ns()),
            display::significant(rate)
        );
        self.print(&text, false);
    }

    /// A note that is always printed.
    pub fn note(&mut self, text: &str) {
        self.clear();
        eprintln!("slmscope: {text}");
    }

    /// Removes the line from the terminal.
    pub fn clear(&mut self) {
        self.line.clear();
    }

    fn print(&mut self, text: &str, is_state: bool) {
        if self.line.on_terminal() {
            self.line.show(text);
        } else if is_state && !self.quiet {
            eprintln!("{text}");
        }
    }
}
