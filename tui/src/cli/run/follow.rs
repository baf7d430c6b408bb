//! Follows a job from its submission to its result.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::record::Record;
use slmscope_profiles::result::{RunResult, RunStatus};
use slmscope_profiles::wire::codec::Incoming;
use slmscope_profiles::wire::{Frame, Method, Request, Submit, Talk};

use super::progress::Progress;
use super::quiet;
use crate::connect::Attached;
use crate::failure::Failure;

/// What is waited for while a job runs.
enum Event {
    Frame(Box<Frame>),
    /// The daemon is gone, and perhaps why.
    Gone(Option<String>),
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
}

/// Submits a job and waits for its end. `show` gets its result, or in a loop the result of each turn.
///
/// # Errors
/// If the daemon refuses the job, or the job fails or is cancelled.
pub fn follow(
    mut attached: Attached,
    submit: Submit,
    files: Vec<File>,
    progress: Progress,
    show: impl Fn(&RunResult) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let connection = &mut attached.connection;
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    connection.call(Method::Subscribe(quiet()), &[])??;
    let source = submit.model.source();
    let model = submit.model.name().to_owned();
    let workload = submit.workload.clone();
    let failed = move |reason: &str| RunResult::failed(&model, source, &workload, reason);
    let looped = submit.workload.looped;
    // From here on a signal cancels the job instead of ending this process.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot wait for signals")?;
    let answer = connection.call(Method::Submit(submit), &files)??;
    let job = answer["job"].as_u64().context("the daemon's answer has no job number")?;
    let sender = connection.sender().context("cannot copy the connection")?;
    let private = attached.private.take();
    let mut followed =
        Followed { job, looped, interrupted: false, last: None, turns_shown: false, progress, failed, show };
    for event in listen(attached, signals)? {
        match event {
            Event::Signal if followed.interrupted => return Err(Failure::silent(130)),
            Event::Signal => {
                followed.interrupted = true;
                followed.progress.note("interrupted: waiting for the result of what was measured so far");
                sender.send(&Request::new(None, Method::Cancel { job }), &[])?;
            }
            Event::Gone(reason) => return Err(followed.lost(reason)?),
            Event::Frame(frame) => {
                if let Some(ended) = followed.take(*frame)? {
                    // A private daemon ends before the result is shown.
                    drop((sender, private));
                    return followed.finish(ended);
                }
            }
        }
    }
    Err(Failure::error("the daemon is gone"))
}

/// A job that runs, and what is known of it.
struct Followed<F, S> {
    job: JobId,
    looped: bool,
    /// A signal has cancelled it.
    interrupted: bool,
    /// Its result, or that of the last turn of a loop, not shown yet.
    last: Option<RunResult>,
    /// Turns of a loop were shown.
    turns_shown: bool,
    progress: Progress,
    /// Makes the result of a job that has none, from the reason.
    failed: F,
    show: S,
}

impl<F, S> Followed<F, S>
where
    F: Fn(&str) -> RunResult,
    S: Fn(&RunResult) -> Result<(), Failure>,
{
    /// Shows what a frame reports. Returns the job's state when it has ended.
    fn take(&mut self, frame: Frame) -> Result<Option<Job>, Failure> {
        match frame {
            Frame::Talk(Talk::Result { job, result }) if job == self.job => {
                self.progress.clear();
                if self.looped && result.status == RunStatus::Complete {
                    (self.show)(&result)?;
                    self.turns_shown = true;
                } else {
                    self.last = Some(*result);
                }
            }
            Frame::Talk(Talk::Job(job)) if job.job == self.job => {
                self.progress.job(&job);
                return Ok(job.state.is_final().then_some(job));
            }
            Frame::Talk(Talk::Progress(step)) if step.job == self.job => self.progress.step(&step),
            Frame::Record(Record::Span(span)) if span.job == self.job => self.progress.span(&span),
            _ => {}
        }
        Ok(None)
    }

    /// Shows what was measured when the daemon has gone; returns the failure of the command.
    fn lost(mut self, reason: Option<String>) -> Result<Failure, Failure> {
        self.progress.clear();
        let reason = reason.unwrap_or_else(|| "the daemon is gone".to_owned());
        let result = self.last.unwrap_or_else(|| (self.failed)(&reason));
        (self.show)(&RunResult { status: RunStatus::Failed, error: Some(reason.clone()), ..result })?;
        Ok(Failure::error(reason))
    }

    /// Shows the result of a job that has ended.
    fn finish(mut self, ended: Job) -> Result<ExitCode, Failure> {
        self.progress.clear();
        let (job, state) = (self.job, ended.state);
        let reason = ended.error.unwrap_or_else(|| format!("job {job} ended: {}", state.as_str()));
        // A loop that ends between two turns has measured nothing that was not shown.
        if self.last.is_some() || !self.turns_shown {
            let mut result = self.last.unwrap_or_else(|| (self.failed)(&reason));
            if state == JobState::Cancelled {
                result.status = RunStatus::Cancelled;
            }
            (self.show)(&result)?;
        }
        match state {
            JobState::Done => Ok(ExitCode::SUCCESS),
            JobState::Cancelled if self.interrupted => Err(Failure::silent(130)),
            _ => Err(Failure::error(reason)),
        }
    }
}

/// Reads frames and signals on two threads, into one queue.
fn listen(mut attached: Attached, mut signals: Signals) -> Result<Receiver<Event>, Failure> {
    let (sender, events) = mpsc::channel();
    let to_signals = sender.clone();
    let wait = move || {
        for _ in signals.forever() {
            if to_signals.send(Event::Signal).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).context("cannot start a thread")?;
    let read = move || {
        loop {
            let event = match attached.connection.next() {
                Ok(Some(Incoming::Frame(frame))) => match *frame {
                    Frame::Talk(Talk::Bye { reason }) => {
                        Event::Gone(Some(format!("the daemon ended the connection: {reason}")))
                    }
                    other => Event::Frame(Box::new(other)),
                },
                Ok(Some(_)) => continue,
                Ok(None) => Event::Gone(None),
                Err(error) => Event::Gone(Some(format!("{error:#}"))),
            };
            let over = matches!(event, Event::Gone(_));
            if sender.send(event).is_err() || over {
                return;
            }
        }
    };
    std::thread::Builder::new().name("frames".to_owned()).spawn(read).context("cannot start a thread")?;
    Ok(events)
}
