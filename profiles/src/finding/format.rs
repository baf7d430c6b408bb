//! Weight formats: whether another one would be faster.

use super::{FindingCode, Found, Use};
use crate::display;
use crate::format::WeightFormat;
use crate::lane::HOST_LANE;
use crate::model::ModelSource;
use crate::phase::Phase;
use crate::plan::site::OpKind;
use crate::result::RunResult;
use crate::roofline::Bound;
use crate::totals::saturating_sum;

/// Least factor, at the low end of the estimate, for which another format is named.
const WORTH: f64 = 1.1;

/// The formats that are proposed for the model of `result`, the smallest first.
pub(super) fn proposed(result: &RunResult) -> [WeightFormat; 3] {
    if result.model.holds_k_quants == Some(true) { WeightFormat::PROPOSED_K } else { WeightFormat::PROPOSED }
}

/// Whether no format that is proposed is much smaller than this one.
pub(super) fn is_smallest(format: WeightFormat) -> bool {
    format.bits() <= WeightFormat::PROPOSED[0].bits() * 1.2
}

/// What a file in a format is called: llama.cpp names those in k-quants by what it mixes them with.
fn file_name(format: WeightFormat) -> &'static str {
    match format {
        WeightFormat::Q4K => "Q4_K_S",
        WeightFormat::Q6K => "Q6_K",
        other => other.name(),
    }
}

/// Bytes of the model's weights in a format divided by those in its own; `None` if that would not be less.
fn ratio(result: &RunResult, format: WeightFormat) -> Option<f64> {
    let ratio = format.bits() / result.model.format?.bits();
    (ratio < 1.0).then_some(ratio)
}

/// As [`ratio`], for the smallest format that is proposed.
pub(super) fn smaller(result: &RunResult) -> Option<f64> {
    ratio(result, proposed(result)[0])
}

/// Decode in another format, tokens/s (modelled).
struct Estimated {
    format: WeightFormat,
    ratio: f64,
    low: f64,
    high: f64,
}

/// An estimate for products of decode that memory binds. At the low end only the part of their time that the fastest
/// sample of the read roof explains shrinks with the bytes; at the high end all of it does, down to the time that their
/// arithmetic needs.
fn estimate(result: &RunResult, rate: f64, format: WeightFormat) -> Option<Estimated> {
    let ratio = ratio(result, format)?;
    let decode = result.phases.iter().filter(|books| books.phase == Phase::Decode);
    let wall = saturating_sum(decode.map(|books| books.recorded_wall_ns)) as f64;
    let (mut least, mut most) = (0.0, 0.0);
    for op in result.ops.iter().filter(|op| op.phase == Phase::Decode && op.lane == HOST_LANE) {
        let Some(roof) = op.roof.filter(|roof| op.kind == OpKind::Matmul && roof.bound == Bound::Memory)
        else {
            continue;
        };
        let time = op.time_ns as f64;
        let spare = (time - roof.compute_ns as f64).max(0.0);
        most += (time * (1.0 - ratio)).min(spare);
        least += (time * roof.low.min(1.0) * (1.0 - ratio)).min(spare);
    }
    let then = |saved: f64| (saved < wall).then(|| rate * wall / (wall - saved));
    Some(Estimated { format, ratio, low: then(least)?, high: then(most)? })
}

/// How a model from `source` is had in one of these formats.
fn how(source: ModelSource, worth: &[Estimated]) -> String {
    let names = |name: fn(WeightFormat) -> &'static str| -> Vec<&'static str> {
        worth.iter().map(|estimated| name(estimated.format)).collect()
    };
    match source {
        ModelSource::Gguf => match names(file_name).as_slice() {
            [] => String::new(),
            [only] => format!("a {only} file of this model"),
            [first, more @ ..] => format!("a {first} file of this model, or one in {}", more.join(" or ")),
        },
        ModelSource::Synthetic | ModelSource::Hf => {
            format!("--format {}", names(WeightFormat::name).join(" or "))
        }
    }
}

/// Another format would run faster: an estimate for each that is proposed, from a factor of 1.1 at its low end on.
pub(super) fn faster(result: &RunResult) -> Option<Found> {
    let rate = result.summary.decode_tokens_per_s?.median;
    let estimates = proposed(result).into_iter().filter_map(|format| estimate(result, rate, format));
    let worth: Vec<Estimated> = estimates.filter(|estimated| estimated.low >= WORTH * rate).collect();
    let (first, others) = worth.split_first()?;
    let range =
        |of: &Estimated| format!("{} to {}", display::significant(of.low), display::significant(of.high));
    let also = others.iter().map(|other| format!(", in {} {}", other.format, range(other)));
    let how = how(result.model.source, &worth);
    let mut found = Found::new(FindingCode::FasterFormat, Use::Gain, 1.0 - rate / first.low)
        .reason(format!(
            "in {} decode would make about {} tokens/s instead of {}{} (modelled)",
            first.format,
            range(first),
            display::significant(rate),
            also.collect::<String>()
        ))
        .figure("decode now", rate, "tokens/s")
        .figure("decode then, at least", first.low, "tokens/s")
        .figure("decode then, at most", first.high, "tokens/s")
        .figure("bytes of the weights then divided by now", first.ratio, "ratio");
    for other in others {
        found = found.figure(&format!("decode in {}, at least", other.format), other.low, "tokens/s").figure(
            &format!("decode in {}, at most", other.format),
            other.high,
            "tokens/s",
        );
    }
    Some(found.advice(format!(
        "Try {how}; fewer bits make its answers less exact, which only a quality test shows."
    )))
}
