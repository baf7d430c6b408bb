//! Comparing a loaded model with reference logits.
//!
//! A prompt is read token by token, in short chunks, and in one go; the first is compared with the reference,
//! the others with the first. After the last, ids are generated as long as the choice is clear. How near is
//! near enough follows from what made the reference and from the plan (see `tolerance`).
//!
//! Some models turn positions by other angles in longer sequences. References know nothing of what comes later:
//! their prompt has the angles of its own length, and where what is generated changes them, transformers computes
//! all keys anew. So the session gets no more room than leaves the angles as they are, and is fed again from the
//! begin where they change.

mod golden;
mod golden_error;
pub mod metrics;
mod rows;
mod tolerance;

use std::sync::atomic::AtomicBool;

use slmscope_profiles::spec::Lengths;
use slmscope_profiles::verify::{PrefillCheck, Tolerances, VERIFY_SCHEMA, VerifyCase, VerifyReport};

use crate::clock::Monotonic;
use crate::error::EngineError;
use crate::recorder::Recorder;
use crate::session::Session;
pub use golden::Golden;
use golden::{Content, Passage, Prompt, Reference};
pub use golden_error::{GoldenError, Mismatch, Problem as GoldenProblem};
use metrics::{best, deviation, divergence, log_probabilities, most, rms};
use tolerance::tolerances;

/// Ids of the short chunks: no divisor of most prompts, so that the last chunk is shorter.
const CHUNK: usize = 3;
/// Lead of the best logit over the second below which either may win on real text.
const TEXT_MARGIN: f64 = 0.3;
/// How much less likely than the best an id may be and still pass for the best, nats.
const NEARLY_BEST: f64 = 0.15;
/// Smallest share of positions of real text whose best id must agree, 0 to 1.
const TOP1_LEAST: f64 = 0.95;

/// Makes ids of a text with the model's own tokenizer.
pub type Encode<'a> = dyn Fn(&str) -> Vec<u32> + 'a;

/// Compares `session` with `golden`, which fits its model (see [`Golden::check_model`]); the session gets the room that
/// is needed. `encode` is for references on real text; without it their ids are used. `progress` is called with the
/// tokens computed so far and in all.
///
/// # Errors
/// [`EngineError::Cancelled`] when `cancel` is up, too little memory, and what a kernel refuses.
pub fn verify(
    session: &mut Session,
    golden: &Golden,
    encode: Option<&Encode<'_>>,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, EngineError> {
    let tokens = |ids: &[u32], greedy: &[u32]| (3 * ids.len() + greedy.len()) as u64;
    let total = match &golden.content {
        Content::Prompt(case) => tokens(&case.ids, &case.greedy),
        Content::Texts(cases) => cases.iter().map(|case| tokens(&case.ids, &case.greedy)).sum(),
    };
    let recorder = Recorder::new(session.plan().steps.len());
    let mut feeder = Feeder { session, recorder, cancel, progress, room: None, done: 0, total };
    let (cases, top1_least) = match &golden.content {
        Content::Prompt(case) => (vec![feeder.logits(&golden.file, case)?], None),
        Content::Texts(texts) => {
            let check = |(index, text): (usize, &Passage)| {
                // A case that ended early fed fewer than were counted for it.
                feeder.done = texts[..index].iter().map(|text| tokens(&text.ids, &text.greedy)).sum();
                feeder.text(&format!("text {}", index + 1), text, encode)
            };
            (texts.iter().enumerate().map(check).collect::<Result<Vec<_>, _>>()?, Some(TOP1_LEAST))
        }
    };
    let positions: u64 = cases.iter().map(|case| case.tokens).sum();
    let top1 = cases.iter().map(|case| case.top1 * case.tokens as f64).sum::<f64>() / positions as f64;
    Ok(VerifyReport {
        schema: VERIFY_SCHEMA.to_owned(),
        pass: cases.iter().all(|case| case.pass) && top1_least.is_none_or(|least| top1 >= least),
        top1_least,
        top1,
        cases,
        computed_by: None,
    })
}

/// Feeds the session and counts what was fed.
struct Feeder<'a> {
    session: &'a mut Session,
    recorder: Recorder,
    cancel: &'a AtomicBool,
    progress: &'a mut dyn FnMut(u64, u64),
    room: Option<Lengths>,
    done: u64,
    total: u64,
}

impl Feeder<'_> {
    /// Starts anew, with room for `least` tokens, `prompt` of them a prompt, and for as many of `most` as turn by
    /// the same angles.
    fn begin(&mut self, prompt: usize, least: usize, most: usize) -> Result<(), EngineError> {
        let [prompt, least, most] = [prompt, least, most].map(|tokens| tokens as u32);
        let ropes = &self.session.plan().ropes;
        let angles = |lengths| -> Vec<_> { ropes.iter().map(|rope| rope.frequencies(lengths)).collect() };
        let of = |total| Lengths { prompt, total };
        let first = angles(of(least));
        if self.room.is_some_and(|room| room.total >= least && angles(room) == first) {
            self.session.rewind(0);
            return Ok(());
        }
        let room = (least..=most).rev().map(of).find(|&room| angles(room) == first).unwrap_or(of(least));
        self.session.reserve(room).map_err(|error| EngineError::Room(Box::new(error)))?;
        self.room = Some(room);
        Ok(())
    }

    /// Feeds `ids` in chunks of `rows`; gives the logits at the end of each.
    fn feed(&mut self, ids: &[u32], rows: usize) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut ends = Vec::with_capacity(ids.len().div_ceil(rows));
        for chunk in ids.chunks(rows) {
            self.session.forward(chunk, &mut self.recorder, &Monotonic, self.cancel)?;
            ends.push(self.session.logits().to_vec());
            self.done += chunk.len() as u64;
            (self.progress)(self.done.min(self.total), self.total);
        }
        Ok(ends)
    }

    /// Reads `ids` in short chunks and then in one go; `distance` compares the logits at the chunks' ends with
    /// those of the same positions in `single`.
    fn prefill(
        &mut self,
        ids: &[u32],
        single: &[Vec<f32>],
        limit: Option<f64>,
        distance: impl Fn(&[Vec<f32>], &[&Vec<f32>], &[usize]) -> f64,
    ) -> Result<Vec<PrefillCheck>, EngineError> {
        let mut checks = Vec::with_capacity(2);
        for rows in [CHUNK.min(ids.len()), ids.len().min(self.session.rows())] {
            self.session.rewind(0);
            let found = self.feed(ids, rows)?;
            let ends: Vec<_> =
                (0..found.len()).map(|chunk| ((chunk + 1) * rows).min(ids.len()) - 1).collect();
            let expected: Vec<_> = ends.iter().map(|&end| &single[end]).collect();
            let distance = number(distance(&found, &expected, &ends));
            checks.push(PrefillCheck { rows: rows as u64, distance, pass: within(distance, limit) });
        }
        Ok(checks)
    }

    /// Generates after `prompt`, which was just read, until the lead of the best logit (`margins`, or else our
    /// own) is below `least`. Returns whether the ids were equal until then, and how many were compared.
    fn generate(
        &mut self,
        prompt: &[u32],
        ids: &[u32],
        margins: Option<&[f64]>,
        least: f64,
    ) -> Result<(bool, u64), EngineError> {
        for (index, &id) in ids.iter().enumerate() {
            let Some((chosen, lead)) = best(self.session.logits()) else { return Ok((false, index as u64)) };
            if margins.map_or(lead, |margins| margins[index]) < least {
                return Ok((true, index as u64));
            }
            if chosen != id {
                return Ok((false, index as u64 + 1));
            }
            if index + 1 == ids.len() {
                break;
            }
            let length = prompt.len() + index + 1;
            if self.room.is_none_or(|room| length > room.total as usize) {
                self.begin(prompt.len(), length, prompt.len() + ids.len())?;
                self.feed(&[prompt, &ids[..index]].concat(), self.session.rows())?;
            }
            self.feed(&[id], 1)?;
        }
        Ok((true, ids.len() as u64))
    }

    fn logits(&mut self, name: &str, case: &Prompt) -> Result<VerifyCase, EngineError> {
        let tolerances = tolerances(Some(case.reference), self.session.plan());
        let expected: Vec<_> = case.logits.iter().collect();
        let std = deviation(&expected);
        self.begin(case.ids.len(), case.ids.len(), case.ids.len() + case.greedy.len())?;
        let single = self.feed(&case.ids, 1)?;
        let (limit, least) = match case.reference {
            Reference::Transformers => (tolerances.max_abs_over_std, tolerances.max_abs_over_std),
            Reference::LlamaCpp => (tolerances.rms_over_std, tolerances.rms_over_std),
        };
        let prefill = self.prefill(&case.ids, &single, limit, |found, expected, _| match case.reference {
            Reference::Transformers => most(found, expected) / std,
            Reference::LlamaCpp => rms(found, expected) / std,
        })?;
        let least = least.unwrap_or(0.0) * std;
        let (greedy_equal, greedy_compared) = self.generate(&case.ids, &case.greedy, None, least)?;
        let agree = single.iter().zip(&expected).filter(|(found, expected)| {
            let (found, expected) = (best(found), best(expected));
            found.zip(expected).is_some_and(|(found, expected)| found.0 == expected.0)
        });
        let exact = case.exact.as_ref().map(|exact| exact.iter().collect::<Vec<_>>());
        let exact = exact.map(|exact| rms(&single, &exact) / deviation(&exact));
        Ok(judged(VerifyCase {
            name: name.to_owned(),
            tokens: case.ids.len() as u64,
            tolerances: Tolerances {
                exact_rms_over_std: tolerances.exact_rms_over_std.filter(|_| exact.is_some()),
                ..tolerances
            },
            pass: false,
            max_abs_over_std: number(most(&single, &expected) / std),
            rms_over_std: number(rms(&single, &expected) / std),
            kl_mean: number(divergence(&single, &expected)),
            exact_rms_over_std: exact.and_then(number),
            top1: agree.count() as f64 / expected.len() as f64,
            greedy_equal,
            greedy_compared,
            ids_equal: None,
            mean_abs_logprob: None,
            prefill,
        }))
    }

    fn text(
        &mut self,
        name: &str,
        case: &Passage,
        encode: Option<&Encode<'_>>,
    ) -> Result<VerifyCase, EngineError> {
        let tolerances = tolerances(None, self.session.plan());
        self.begin(case.ids.len(), case.ids.len(), case.ids.len() + case.greedy.len())?;
        let single = self.feed(&case.ids, 1)?;
        let top: Vec<_> = case.top.iter().collect();
        let of_top = |logits: &[f32], position: usize| -> Vec<f64> {
            let all = log_probabilities(logits);
            top[position].iter().map(|(id, _)| all[*id as usize]).collect()
        };
        let ours: Vec<_> = single.iter().enumerate().map(|(at, logits)| of_top(logits, at)).collect();
        let exact: Vec<_> = case.exact.iter().collect();
        let prefill =
            self.prefill(&case.ids, &single, tolerances.mean_abs_logprob, |found, _, positions| {
                let at_ends = found.iter().zip(positions).map(|(logits, at)| of_top(logits, *at));
                mean_difference(at_ends.zip(positions).map(|(found, at)| (found, &ours[*at][..])))
            })?;
        let (greedy_equal, greedy_compared) =
            self.generate(&case.ids, &case.greedy, Some(&case.greedy_margin), TEXT_MARGIN)?;
        let nearly_best = |(at, logits): &(usize, &Vec<f32>)| {
            let most = exact[*at].iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let place = best(logits).and_then(|(id, _)| top[*at].iter().position(|(top, _)| *top == id));
            place.is_some_and(|place| exact[*at][place] >= most - NEARLY_BEST)
        };
        Ok(judged(VerifyCase {
            name: name.to_owned(),
            tokens: case.ids.len() as u64,
            tolerances,
            pass: false,
            max_abs_over_std: None,
            rms_over_std: None,
            kl_mean: None,
            exact_rms_over_std: None,
            top1: single.iter().enumerate().filter(nearly_best).count() as f64 / single.len() as f64,
            greedy_equal,
            greedy_compared,
            ids_equal: encode.map(|encode| encode(&case.text) == case.ids),
            mean_abs_logprob: number(mean_difference(ours.iter().cloned().zip(exact.iter().copied()))),
            prefill,
        }))
    }
}

/// Decides whether the case passes.
fn judged(case: VerifyCase) -> VerifyCase {
    let limits = &case.tolerances;
    let pass = within(case.max_abs_over_std, limits.max_abs_over_std)
        && within(case.rms_over_std, limits.rms_over_std)
        && within(case.kl_mean, limits.kl_mean)
        && within(case.exact_rms_over_std, limits.exact_rms_over_std)
        && within(case.mean_abs_logprob, limits.mean_abs_logprob)
        && case.prefill.iter().all(|check| check.pass)
        && case.greedy_equal
        && case.ids_equal != Some(false);
    VerifyCase { pass, ..case }
}

/// NaN and infinity are reported as no distance.
fn number(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Without a limit every value passes; with one, `None` (NaN or infinity) fails.
fn within(value: Option<f64>, limit: Option<f64>) -> bool {
    limit.is_none_or(|limit| value.is_some_and(|value| value <= limit))
}

fn mean_difference<'a>(rows: impl Iterator<Item = (Vec<f64>, &'a [f64])>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u64);
    for (found, expected) in rows {
        for (f, e) in found.iter().zip(expected) {
            sum += (f - e).abs();
            count += 1;
        }
    }
    sum / count as f64
}
