//! Follows a job from its submission to its result.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::record::Record;
use slmscope_profiles::result::{RunResult, RunStatus};
use slmscope_profiles::wire::{Frame, Method, Request, Submit, Subscribe, Talk};

use super::files::Files;
use super::progress::Progress;
use super::stream::TextStream;
use crate::connect::Attached;
use crate::failure::Failure;
use crate::listen::{Event, listen};
use crate::recording_file::RecordingFile;

/// Submits a job and waits for its end. `show` gets its result, or in a loop the result of each turn, and whether its
/// text is on the screen already: `stream` prints it while it is generated. What the daemon sends goes into `written`.
///
/// # Errors
/// If the daemon refuses the job, the job fails or is cancelled, or a file cannot be written.
pub fn follow(
    mut attached: Attached,
    submit: Submit,
    files: Vec<File>,
    progress: Progress,
    stream: Option<TextStream<impl Write>>,
    mut written: Files,
    show: impl Fn(&RunResult, bool) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let connection = &mut attached.connection;
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let subscription = if written.is_empty() { Subscribe::states() } else { RecordingFile::subscription() };
    connection.call(Method::Subscribe(subscription), &[])??;
    let source = submit.model.source();
    let model = submit.model.name().to_owned();
    let workload = submit.workload.clone();
    let failed = move |reason: &str| RunResult::failed(&model, source, &workload, reason);
    let (looped, crowd) = (submit.workload.looped, super::crowd(submit.workload.threads));
    // From here on a signal cancels the job instead of ending this process.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot wait for signals")?;
    let answer = connection.call(Method::Submit(submit), &files)??;
    let job = answer["job"].as_u64().context("the daemon's answer has no job number")?;
    let sender = connection.sender().context("cannot copy the connection")?;
    let private = attached.private.take();
    let mut followed = Followed {
        job,
        looped,
        interrupted: false,
        last: None,
        turns_shown: false,
        progress,
        stream,
        failed,
        show,
    };
    // The daemon has taken the job; one that it refuses needs no warning.
    if let Some(warning) = crowd {
        followed.progress.note(&warning);
    }
    let events = listen(attached.connection, signals)?;
    while let Some(event) = followed.next(&events) {
        match event {
            Event::Signal if followed.interrupted => return Err(Failure::silent(130)),
            Event::Signal => {
                followed.interrupted = true;
                followed.end_text()?;
                followed.progress.note(followed.interruption());
                sender.send(&Request::new(None, Method::Cancel { job }), &[])?;
            }
            Event::Gone(reason) => return Err(followed.lost(reason)?),
            // To its own cancel, whose effect the job's state shows.
            Event::Answer => {}
            Event::Frame(frame) => {
                written.take(&frame)?;
                if let Some(ended) = followed.take(*frame)? {
                    // A private daemon ends before the result is shown.
                    drop((sender, private));
                    for line in written.finish()? {
                        followed.progress.note(&line);
                    }
                    return followed.finish(ended);
                }
            }
        }
    }
    Err(Failure::error("the daemon is gone"))
}

/// A job that runs, and what is known of it.
struct Followed<F, S, W> {
    job: JobId,
    looped: bool,
    /// A signal has cancelled it.
    interrupted: bool,
    /// Its result, or that of the last turn of a loop, not shown yet.
    last: Option<RunResult>,
    /// Turns of a loop were shown.
    turns_shown: bool,
    progress: Progress,
    /// Prints text while it is generated.
    stream: Option<TextStream<W>>,
    /// Makes the result of a job that has none, from the reason.
    failed: F,
    show: S,
}

impl<F, S, W> Followed<F, S, W>
where
    F: Fn(&str) -> RunResult,
    S: Fn(&RunResult, bool) -> Result<(), Failure>,
    W: Write,
{
    /// Shows what a frame reports. Returns the job's state when it has ended.
    fn take(&mut self, frame: Frame) -> Result<Option<Job>, Failure> {
        match frame {
            Frame::Talk(Talk::Result { job, result }) if job == self.job => {
                self.progress.clear();
                if self.looped && result.status == RunStatus::Complete {
                    self.show(&result)?;
                    self.turns_shown = true;
                } else {
                    self.last = Some(*result);
                }
            }
            Frame::Talk(Talk::Text { job, text, .. }) if job == self.job => self.text(&text)?,
            Frame::Talk(Talk::Job(job)) => {
                if job.job == self.job && job.state != JobState::Warmup {
                    self.end_text()?;
                }
                self.progress.job(&job, self.job);
                return Ok(Some(*job).filter(|job| job.job == self.job && job.state.is_final()));
            }
            Frame::Talk(Talk::Progress(step)) if step.job == self.job => self.progress.step(&step),
            Frame::Record(Record::Span(span)) if span.job == self.job => self.progress.span(&span),
            _ => {}
        }
        Ok(None)
    }

    /// The next event; meanwhile the progress on a terminal goes on. `None` if no more can come.
    fn next(&mut self, events: &Receiver<Event>) -> Option<Event> {
        let Some(period) = self.progress.period() else { return events.recv().ok() };
        loop {
            match events.recv_timeout(period) {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout) => self.progress.tick(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Prints more of the text, in place of the progress.
    fn text(&mut self, text: &str) -> Result<(), Failure> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        self.progress.hold();
        stream.show(text).map_err(|error| Failure::error(format!("cannot write the text: {error}")))
    }

    /// Ends the line of the text; whether there was any.
    fn end_text(&mut self) -> Result<bool, Failure> {
        let Some(stream) = &mut self.stream else { return Ok(false) };
        self.progress.go_on();
        stream.end().map_err(|error| Failure::error(format!("cannot write the text: {error}")))
    }

    fn show(&mut self, result: &RunResult) -> Result<(), Failure> {
        self.progress.clear();
        let is_streamed = self.end_text()?;
        (self.show)(result, is_streamed)
    }

    /// What is said when a signal comes.
    fn interruption(&self) -> &'static str {
        if self.turns_shown || self.last.is_some() || self.progress.has_measured() {
            "interrupted: waiting for the result of what was measured so far"
        } else {
            "interrupted: nothing was measured yet"
        }
    }

    /// Shows what was measured when the daemon has gone; returns the failure of the command.
    fn lost(mut self, reason: Option<String>) -> Result<Failure, Failure> {
        self.progress.clear();
        let reason = reason.unwrap_or_else(|| "the daemon is gone".to_owned());
        let result = self.last.take().unwrap_or_else(|| (self.failed)(&reason));
        self.show(&RunResult { status: RunStatus::Failed, error: Some(reason.clone()), ..result })?;
        Ok(Failure::error(reason))
    }

    /// Shows the result of a job that has ended.
    fn finish(mut self, ended: Job) -> Result<ExitCode, Failure> {
        self.progress.clear();
        let (job, state) = (self.job, ended.state);
        let reason = ended.error.unwrap_or_else(|| format!("job {job} ended: {}", state.as_str()));
        // A loop that ends between two turns has measured nothing that was not shown.
        if self.last.is_some() || !self.turns_shown {
            let mut result = self.last.take().unwrap_or_else(|| (self.failed)(&reason));
            if state == JobState::Cancelled {
                result.status = RunStatus::Cancelled;
            }
            self.show(&result)?;
        }
        match state {
            JobState::Done => Ok(ExitCode::SUCCESS),
            JobState::Cancelled if self.interrupted => Err(Failure::silent(130)),
            _ => Err(Failure::error(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use slmscope_profiles::op::Phase;
    use slmscope_profiles::result::ModelSource;
    use slmscope_profiles::workload::Workload;

    use super::super::tests::{job, span};
    use super::*;

    fn failed(reason: &str) -> RunResult {
        RunResult::failed("m", ModelSource::Gguf, &Workload::default(), reason)
    }

    fn text(text: &str) -> Frame {
        Talk::Text { job: 7, repetition: 0, text: text.to_owned() }.into()
    }

    /// Feeds `frames` of a scripted daemon to job 7, and returns what was printed as text, the results with whether
    /// their text was printed, and what is said when a signal comes then.
    fn followed(frames: Vec<Frame>) -> (String, Vec<bool>, &'static str) {
        let (mut out, shown) = (Vec::new(), RefCell::new(Vec::new()));
        let mut followed = Followed {
            job: 7,
            looped: false,
            interrupted: false,
            last: None,
            turns_shown: false,
            progress: Progress::new(true),
            stream: Some(TextStream::new(&mut out)),
            failed,
            show: |_: &RunResult, is_streamed| {
                shown.borrow_mut().push(is_streamed);
                Ok(())
            },
        };
        let mut said = followed.interruption();
        for frame in frames {
            let ended = followed.take(frame).unwrap();
            said = followed.interruption();
            if let Some(ended) = ended {
                followed.finish(ended).unwrap();
                break;
            }
        }
        (String::from_utf8(out).unwrap(), shown.into_inner(), said)
    }

    #[test]
    fn an_interruption_says_whether_anything_was_measured() {
        let warm = vec![
            Talk::Job(Box::new(job(JobState::Warmup))).into(),
            Record::Span(span(Phase::Warmup, 0, 1)).into(),
        ];
        let nothing = "interrupted: nothing was measured yet";
        assert_eq!(followed(Vec::new()).2, nothing);
        assert_eq!(followed(warm.clone()).2, nothing);
        let measured = [warm, vec![Record::Span(span(Phase::Decode, 0, 1)).into()]].concat();
        assert_eq!(followed(measured).2, "interrupted: waiting for the result of what was measured so far");
    }

    #[test]
    fn text_is_shown_while_it_comes_and_not_again_with_the_result() {
        let end = |state| -> Frame { Talk::Job(Box::new(job(state))).into() };
        let result: Frame = Talk::Result { job: 7, result: Box::new(failed("")) }.into();
        let frames = vec![
            end(JobState::Warmup),
            text("Because"),
            text("Because of"),
            end(JobState::Measuring),
            text("Because of"),
            result.clone(),
            end(JobState::Done),
        ];
        let (out, shown, _) = followed(frames);
        assert_eq!((out.as_str(), shown), ("Because of\n", vec![true]));
        assert_eq!(followed(vec![result, end(JobState::Done)]).1, [false]);
    }

    #[test]
    fn other_jobs_end_without_ending_this_one() {
        let other = Job { job: 6, ..job(JobState::Done) };
        let (_, shown, _) = followed(vec![
            Talk::Job(Box::new(other)).into(),
            Talk::Job(Box::new(job(JobState::Loading))).into(),
        ]);
        assert!(shown.is_empty());
    }
}
