//! Running a repetition (prefill, then decode), and measuring what recording costs.

use slmscope_engine::clock::Clock;
use slmscope_engine::sampler::greedy;
use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::job::Span;
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::{BatchHead, Phase};
use slmscope_profiles::span::SpanName;
use slmscope_profiles::stats::SplitMix;

use super::budget::RecordingBudget;
use super::model::LoadedModel;
use super::protocol::Event;
use super::{End, Worker};
use crate::ring::Producer;

/// Time between two events of text while it is generated.
const TEXT_PERIOD_NS: u64 = 100_000_000;

/// Which token or chunk a batch belongs to.
#[derive(Clone, Copy)]
struct Label {
    phase: Phase,
    repetition: u32,
    token: u32,
    rows: u32,
    context: u32,
}

impl Worker {
    /// Runs the workload once, starting after the context that was filled at load.
    pub(super) fn repeat(&mut self, repetition: u32, measured: bool, budget: Option<f64>) -> Result<(), End> {
        let mut model = self.model.take().ok_or(End::Failed("no model is loaded".to_owned()))?;
        self.renew_budgets(&model, budget);
        let result = self.run_once(&mut model, repetition, measured);
        self.model = Some(model);
        result
    }

    fn run_once(&mut self, model: &mut LoadedModel, repetition: u32, measured: bool) -> Result<(), End> {
        let phase = |phase| if measured { phase } else { Phase::Warmup };
        let mut ids = Vec::with_capacity(model.request.generate as usize);
        model.session.rewind(model.request.depth);
        if !model.prompt.is_empty() {
            let span = self.prefill(model, repetition, phase(Phase::Prefill), &mut ids)?;
            self.send(&Event::Span(span))?;
        }
        let steps = model.request.generate as usize - ids.len();
        let ended = ids.last().is_some_and(|&id| model.ends(id));
        if steps > 0 && !ended {
            let span = self.decode(model, repetition, phase(Phase::Decode), steps, &mut ids)?;
            self.send(&Event::Span(span))?;
        }
        if repetition == 0 {
            self.send_text(model, repetition, &ids)?;
        }
        self.send(&Event::RepetitionDone { repetition, ids })?;
        Ok(())
    }

    /// Sends the text that was generated so far; nothing without a tokenizer.
    fn send_text(&self, model: &LoadedModel, repetition: u32, ids: &[u32]) -> Result<(), End> {
        if let Some(tokenizer) = &model.tokenizer {
            self.send(&Event::Text { repetition, text: tokenizer.decode(ids) })?;
        }
        Ok(())
    }

    /// Makes new recording budgets if the limit or the number of steps in a token changed.
    fn renew_budgets(&mut self, model: &LoadedModel, limit: Option<f64>) {
        let steps = model.session.plan().steps.len();
        if self.budgets_for == Some((limit, steps)) {
            return;
        }
        let cost_ns = steps as f64 * self.event_cost_ns;
        // The seed need not be reproducible.
        let mut random = SplitMix(self.clock.now_ns());
        let mut credit = || random.below(1 << 20) as f64 / f64::from(1 << 20);
        self.prefill_budget = RecordingBudget::new(limit, cost_ns, credit());
        self.decode_budget = RecordingBudget::new(limit, cost_ns, credit());
        self.budgets_for = Some((limit, steps));
    }

    /// Computes the prompt in chunks, and samples the first id if any are to be generated.
    fn prefill(
        &mut self,
        model: &mut LoadedModel,
        repetition: u32,
        phase: Phase,
        ids: &mut Vec<u32>,
    ) -> Result<Span, End> {
        let rows = model.session.rows();
        let chunks = model.prompt.len().div_ceil(rows);
        let mut ends = Vec::with_capacity(chunks);
        let mut sample_ns = 0;
        let begin_ns = self.clock.align();
        let mut border = begin_ns;
        for (token, chunk) in model.prompt.chunks(rows).enumerate() {
            let context = model.session.context();
            let begun = border;
            model.recorder.set_on(self.prefill_budget.should_record());
            model.recorder.begin(begun);
            model.session.forward(chunk, &mut model.recorder, &self.clock, &self.cancel)?;
            let computed = self.clock.align();
            border = computed;
            if token + 1 == chunks && model.request.generate > 0 {
                ids.push(greedy(model.session.logits())?);
                border = self.clock.align();
                model.recorder.span(SpanName::Sample, computed, border);
                sample_ns += border.saturating_sub(computed);
            }
            ends.push(border);
            self.prefill_budget.observe(border - begun);
            let label = Label { phase, repetition, token: token as u32, rows: chunk.len() as u32, context };
            push(&mut self.ring, &mut self.seq, model, label, border);
        }
        let tokens = model.prompt.len() as u32;
        Ok(Span {
            job: model.request.job,
            repetition,
            phase,
            begin_ns,
            end_ns: border,
            tokens,
            sample_ns,
            token_ends_ns: ends,
        })
    }

    /// Generates at most `steps` ids, one after the other.
    fn decode(
        &mut self,
        model: &mut LoadedModel,
        repetition: u32,
        phase: Phase,
        steps: usize,
        ids: &mut Vec<u32>,
    ) -> Result<Span, End> {
        let mut ends = Vec::with_capacity(steps);
        let mut id = ids.last().copied().unwrap_or(model.start_id);
        let mut sample_ns = 0;
        let begin_ns = self.clock.align();
        let mut border = begin_ns;
        // Text is sent while it is generated where nothing is measured.
        let streams = phase == Phase::Warmup && repetition == 0;
        let mut sent_ns = begin_ns;
        for token in 0..steps as u32 {
            let context = model.session.context();
            let begun = border;
            model.recorder.set_on(self.decode_budget.should_record());
            model.recorder.begin(begun);
            model.session.forward(&[id], &mut model.recorder, &self.clock, &self.cancel)?;
            let computed = self.clock.now_ns();
            id = greedy(model.session.logits())?;
            border = self.clock.align();
            model.recorder.span(SpanName::Sample, computed, border);
            sample_ns += border.saturating_sub(computed);
            ids.push(id);
            ends.push(border);
            self.decode_budget.observe(border - begun);
            push(
                &mut self.ring,
                &mut self.seq,
                model,
                Label { phase, repetition, token, rows: 1, context },
                border,
            );
            if model.ends(id) {
                break;
            }
            if streams && border.saturating_sub(sent_ns) >= TEXT_PERIOD_NS {
                sent_ns = border;
                self.send_text(model, repetition, ids)?;
            }
        }
        let tokens = ends.len() as u32;
        Ok(Span {
            job: model.request.job,
            repetition,
            phase,
            begin_ns,
            end_ns: border,
            tokens,
            sample_ns,
            token_ends_ns: ends,
        })
    }

    /// Decodes the same token at the same position repeatedly, with the recorder on, off, off, on, so that a drift
    /// of the machine's speed affects both equally.
    pub(super) fn overhead(&mut self, limit_ns: u64, min_tokens: u32) -> Result<(), End> {
        let mut model = self.model.take().ok_or(End::Failed("no model is loaded".to_owned()))?;
        let result = self.compare(&mut model, limit_ns, min_tokens);
        model.recorder.set_on(true);
        self.model = Some(model);
        let (on_ns, off_ns) = result?;
        self.send(&Event::Overhead { on_ns, off_ns })?;
        Ok(())
    }

    fn compare(
        &mut self,
        model: &mut LoadedModel,
        limit_ns: u64,
        min_tokens: u32,
    ) -> Result<(Vec<u32>, Vec<u32>), End> {
        let (mut on_ns, mut off_ns) = (Vec::new(), Vec::new());
        // The last filled position of the cache, so that the step is as late in the context as the measured ones;
        // recurrent state can only go back to where it was saved.
        let position = model.session.rewind(model.session.context().saturating_sub(1));
        let begin = self.clock.align();
        let mut token = 0;
        loop {
            for on in [true, false, false, true] {
                model.session.rewind(position);
                model.recorder.set_on(on);
                let start = self.clock.align();
                model.recorder.begin(start);
                model.session.forward(&[model.start_id], &mut model.recorder, &self.clock, &self.cancel)?;
                let label =
                    Label { phase: Phase::Overhead, repetition: 0, token, rows: 1, context: position };
                push(&mut self.ring, &mut self.seq, model, label, self.clock.align());
                let ns = u32::try_from(self.clock.align() - start).unwrap_or(u32::MAX);
                (if on { &mut on_ns } else { &mut off_ns }).push(ns);
                token += 1;
            }
            if self.clock.align() - begin > limit_ns && token >= min_tokens {
                return Ok((on_ns, off_ns));
            }
        }
    }
}

impl LoadedModel {
    /// Whether generation ends after `id`.
    fn ends(&self, id: u32) -> bool {
        self.request.stops_at_end && self.tokenizer.as_ref().is_some_and(|tokenizer| tokenizer.is_eog(id))
    }
}

/// Puts what was recorded into the ring; does nothing while the recorder is off.
fn push(ring: &mut Producer, seq: &mut u64, model: &LoadedModel, label: Label, end_ns: u64) {
    if !model.recorder.is_on() {
        return;
    }
    *seq += 1;
    let Some(recorded) = model.recorder.recorded() else { return };
    let head = BatchHead {
        job: model.request.job,
        plan: model.request.plan,
        lane: HOST_LANE,
        repetition: label.repetition,
        phase: label.phase,
        token: label.token,
        rows: label.rows,
        context: label.context,
        seq: *seq,
        begin_ns: recorded.begin_ns,
        end_ns,
        tick_ns: recorded.tick_ns,
        clock: ClockSource::Host,
    };
    ring.push(&head, recorded.spans, &[], recorded.events);
}
