//! What a job exchanges with its engine and with the rest of the daemon: commands, events, batches, the result.

use std::sync::atomic::Ordering;
use std::time::Duration;

use slmscope_profiles::job::{Progress, Span};
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::result::RunStatus;
use slmscope_profiles::wire::Talk;

use super::{JobRun, Stop};
use crate::backend::{Command, Event};
use crate::recorder::JobRecording;

/// How often batches are fetched and the wish to cancel is looked at while a command runs.
const POLL: Duration = Duration::from_millis(50);
/// Time that a cancelled command has to end before the engine is killed.
const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// The same when the daemon stops: it is to be gone within half a second, and a service manager waits for it.
const STOP_GRACE: Duration = Duration::from_millis(300);

impl JobRun<'_> {
    pub(super) fn send(&mut self, command: &Command) -> Result<(), Stop> {
        let engine = self.engine.as_mut().ok_or(Stop::EngineGone)?;
        engine.send(command, &[]).map_err(|_| Stop::EngineGone)
    }

    fn next_event(&mut self) -> Result<Option<Event>, Stop> {
        let engine = self.engine.as_mut().ok_or(Stop::EngineGone)?;
        engine.next_event(POLL).map_err(|_| Stop::EngineGone)
    }

    /// Waits for the answer to the last command; events before it are passed on.
    pub(super) fn await_answer(&mut self) -> Result<Event, Stop> {
        loop {
            if let Some(stop) = self.stop_reason() {
                self.cancel_command();
                return Err(stop);
            }
            let event = self.next_event()?;
            self.drain_batches()?;
            match event {
                None => {}
                Some(Event::Progress { phase, done, total }) => {
                    let progress = Progress { job: self.job, phase, done, total };
                    self.shared.progress().replace(progress.clone());
                    self.shared.hub.broadcast(&Talk::Progress(progress));
                }
                Some(Event::Span(span)) => {
                    self.add_span(span);
                }
                Some(Event::Text { repetition, text }) => {
                    let talk = Talk::Text { job: self.job, repetition, text: text.clone() };
                    self.shared.hub.tell(self.request.submitter.client, &talk);
                    self.builder.text = Some(text);
                }
                Some(Event::Failed { message }) => return Err(Stop::Failed(message)),
                Some(Event::Cancelled) => return Err(Stop::Cancelled("cancelled".to_owned())),
                Some(answer) => return Ok(answer),
            }
        }
    }

    fn add_span(&mut self, span: Span) {
        self.shared.hub.record(Record::Span(span.clone()));
        self.builder.profile.add_span(span);
    }

    /// Makes and records spans for phases that broke off.
    pub(super) fn close_broken(&mut self) {
        let reported = self.builder.profile.spans().len();
        self.builder.profile.close_broken(self.job);
        for span in &self.builder.profile.spans()[reported..] {
            self.shared.hub.record(Record::Span(span.clone()));
        }
    }

    /// Takes all batches that are ready, and counts those that were lost.
    pub(super) fn drain_batches(&mut self) -> Result<(), Stop> {
        let Some(engine) = self.engine.as_mut() else { return Ok(()) };
        let mut last = None;
        let drained = loop {
            match engine.next_batch() {
                Ok(Some(batch)) => {
                    self.builder.profile.add_batch(&batch);
                    self.shared.hub.batch(&batch);
                    last = Some((batch.head.phase, batch.head.context + batch.head.rows));
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(Stop::Events(error)),
            }
        };
        let lost = engine.lost_batches();
        if lost > self.lost_before {
            let batches = lost - self.lost_before;
            self.lost_before = lost;
            self.shared.lost.fetch_add(batches, Ordering::Relaxed);
            self.shared.hub.record(Record::Loss { batches });
        }
        if let Some((phase, context)) = last {
            self.note_tokens(phase, context);
        }
        drained
    }

    /// Notes how far prefill or decode is by the tokens in the context.
    fn note_tokens(&self, phase: Phase, context: u32) {
        let workload = &self.request.submit.workload;
        let prompt = self.builder.loaded.as_ref().map_or(0, |loaded| loaded.prompt_ids.len() as u64);
        let before = u64::from(workload.depth) + if phase == Phase::Decode { prompt } else { 0 };
        let total = match phase {
            Phase::Prefill => prompt,
            // Prefill produces the first of them.
            Phase::Decode => u64::from(workload.generate).saturating_sub(u64::from(prompt > 0)),
            _ => return,
        };
        let done = u64::from(context).saturating_sub(before).min(total);
        let progress = Progress { job: self.job, phase, done, total: Some(total) };
        self.shared.progress().replace(progress);
    }

    /// Why the job is to end now; `None` if it is not.
    pub(super) fn stop_reason(&self) -> Option<Stop> {
        if let Some(reason) = self.shared.cancelled(self.job) {
            return Some(Stop::Cancelled(reason));
        }
        let is_late = self.deadline_ns.is_some_and(|deadline_ns| self.shared.clock.now_ns() >= deadline_ns);
        is_late.then(|| Stop::Timeout(self.workload().timeout.unwrap_or(0)))
    }

    /// Asks the engine to end its command, and waits a while so that its last batches and spans arrive.
    fn cancel_command(&mut self) {
        let clock = self.shared.clock.clone();
        let began_ns = clock.now_ns();
        if self.send(&Command::Cancel).is_err() {
            return;
        }
        // The daemon may be stopped while a cancelled command ends.
        let grace = || if self.shared.is_stopping() { STOP_GRACE } else { CANCEL_GRACE };
        while clock.now_ns() < began_ns + grace().as_nanos() as u64 {
            match self.next_event() {
                Ok(Some(Event::Span(span))) => self.add_span(span),
                Ok(Some(Event::Progress { .. } | Event::Text { .. }) | None) => {}
                Ok(Some(_)) | Err(_) => break,
            }
            if self.drain_batches().is_err() {
                return;
            }
        }
        // The job ends anyway, and its engine with it.
        let _ = self.drain_batches();
    }

    /// Waits while no command runs, unless the job is to end.
    pub(super) fn wait(&mut self, time: Duration) -> Result<(), Stop> {
        let clock = &self.shared.clock;
        let until_ns = clock.now_ns() + time.as_nanos() as u64;
        while clock.now_ns() < until_ns {
            if let Some(stop) = self.stop_reason() {
                return Err(stop);
            }
            let next_ns = self.deadline_ns.map_or(until_ns, |deadline_ns| deadline_ns.min(until_ns));
            clock.park(Some(next_ns));
        }
        Ok(())
    }

    /// Sends the result by what was measured so far to the submitter.
    pub(super) fn deliver(&mut self, status: RunStatus, error: Option<String>) {
        let samples = self.samples.stop(&self.shared.hub);
        let mut channels = self.shared.hub.channels();
        for state in self.shared.sampler.states() {
            if let Some(channel) = channels.get_mut(usize::from(state.channel)) {
                channel.update_ns = state.update_ns.or(channel.update_ns);
            }
        }
        let now_ns = self.shared.clock.now_ns();
        let recorded = self.recording.as_ref().map(JobRecording::recorded).unwrap_or_default();
        let result = self.builder.build(status, error, (&samples, &channels), recorded, now_ns);
        if let Some(recording) = &mut self.recording {
            recording.add_result(self.job, &result);
        }
        self.builder.keep_baseline(&result.energy);
        self.shared.metrics.add_result(&result);
        self.is_delivered = true;
        // Held before it is sent: whoever gets it may ask for it again.
        self.shared.results.hold(self.job, self.request.submitter.uid, result.clone());
        let talk = Talk::Result { job: self.job, result: Box::new(result) };
        self.shared.hub.tell(self.request.submitter.client, &talk);
    }
}
