//! Follows a job from its submission to its result.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slmscope_profiles::job::{JobId, JobState};
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
    mut progress: Progress,
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
    let events = listen(attached, signals)?;
    let mut interrupted = false;
    let mut last = None;
    for event in events {
        match event {
            Event::Signal if interrupted => return Err(Failure::silent(130)),
            Event::Signal => {
                interrupted = true;
                progress.note("interrupted: waiting for the result of what was measured so far");
                sender.send(&Request::new(None, Method::Cancel { job }), &[])?;
            }
            Event::Gone(reason) => {
                progress.clear();
                let reason = reason.unwrap_or_else(|| "the daemon is gone".to_owned());
                let result = last.unwrap_or_else(|| failed(&reason));
                show(&RunResult { status: RunStatus::Failed, error: Some(reason.clone()), ..result })?;
                return Err(Failure::error(reason));
            }
            Event::Frame(frame) => match *frame {
                Frame::Talk(Talk::Result { job: of, result }) if of == job => {
                    progress.clear();
                    if looped && result.status == RunStatus::Complete {
                        show(&result)?;
                        continue;
                    }
                    last = Some(*result);
                }
                Frame::Talk(Talk::Job(state)) if state.job == job => {
                    progress.job(&state);
                    if state.state.is_final() {
                        progress.clear();
                        drop((sender, private));
                        return finish(job, state.state, state.error, last, &failed, interrupted, &show);
                    }
                }
                Frame::Talk(Talk::Progress(step)) if step.job == job => progress.step(&step),
                Frame::Record(Record::Span(span)) if span.job == job => progress.span(&span),
                _ => {}
            },
        }
    }
    Err(Failure::error("the daemon is gone"))
}

fn finish(
    job: JobId,
    state: JobState,
    error: Option<String>,
    result: Option<RunResult>,
    failed: &impl Fn(&str) -> RunResult,
    interrupted: bool,
    show: &impl Fn(&RunResult) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let reason = error.unwrap_or_else(|| format!("job {job} ended: {}", state.as_str()));
    let mut result = result.unwrap_or_else(|| failed(&reason));
    if state == JobState::Cancelled {
        result.status = RunStatus::Cancelled;
    }
    show(&result)?;
    match state {
        JobState::Done => Ok(ExitCode::SUCCESS),
        JobState::Cancelled if interrupted => Err(Failure::silent(130)),
        _ => Err(Failure::error(reason)),
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
