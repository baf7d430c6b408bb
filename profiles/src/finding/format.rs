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

/// The format that is proposed: the smallest that llama.cpp and this engine have fast kernels for on every CPU.
pub(super) const fn smallest_common() -> WeightFormat {
    WeightFormat::Q4_0
}

/// Bits of an element.
pub(super) fn bits(format: WeightFormat) -> f64 {
    format.block_bytes() as f64 * 8.0 / format.block_elements() as f64
}

/// Bytes of the model's weights in the proposed format divided by those in its own; `None` if that would not be less.
pub(super) fn smaller(result: &RunResult) -> Option<f64> {
    let ratio = bits(smallest_common()) / bits(result.model.format?);
    (ratio < 1.0).then_some(ratio)
}

/// Another format would run faster: an estimate (modelled) for products of decode that memory binds. At the low end
/// only the part of their time that the fastest sample of the read roof explains shrinks with the bytes; at the high end
/// all of it does, down to the time that their arithmetic needs. Claimed from a factor of 1.1 at the low end on.
pub(super) fn faster(result: &RunResult) -> Option<Found> {
    let (ratio, rate) = (smaller(result)?, result.summary.decode_tokens_per_s?.median);
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
    let factor = |saved: f64| (saved < wall).then(|| wall / (wall - saved));
    let (low, high) = (factor(least)?, factor(most)?);
    if low < WORTH {
        return None;
    }
    let name = smallest_common().name();
    let how = match result.model.source {
        ModelSource::Gguf => format!("a {name} file of this model"),
        ModelSource::Synthetic | ModelSource::Hf => format!("--format {name}"),
    };
    Some(
        Found::new(FindingCode::FasterFormat, Use::Gain, 1.0 - 1.0 / low)
            .reason(format!(
                "in {name} decode would make about {} to {} tokens/s instead of {} (modelled)",
                display::significant(rate * low),
                display::significant(rate * high),
                display::significant(rate)
            ))
            .figure("decode now", rate, "tokens/s")
            .figure("decode then, at least", rate * low, "tokens/s")
            .figure("decode then, at most", rate * high, "tokens/s")
            .figure("bytes of the weights then divided by now", ratio, "ratio")
            .advice(format!(
                "Try {how}; fewer bits make its answers less exact, which only a quality test shows."
            )),
    )
}
