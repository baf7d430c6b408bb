//! Memory: what is held twice, read from storage, short, or not explained; keys and values.

use super::bandwidth::BOUND_SHARE;
use super::format::{proposed, smaller};
use super::{FindingCode, Found, Use};
use crate::display;
use crate::format::KvFormat;
use crate::lane::HOST_LANE;
use crate::model::ModelSource;
use crate::phase::Phase;
use crate::plan::site::OpKind;
use crate::profile::OpRow;
use crate::result::RunResult;
use crate::totals::saturating_sum;

/// Resident memory that may be unexplained: both bytes and share of the resident set.
const UNEXPLAINED: (i64, f64) = (20 << 20, 0.05);
/// Share of the machine's memory that is left, below which it is nearly full.
const LEFT: f64 = 0.05;
/// Major page faults from which on pages were cold: fewer happen when a daemon wakes.
const COLD_FAULTS: u64 = 32;
/// Weights below which pages of 4 KiB cost nothing: 8192 of them are about what second-level TLBs hold several times.
const MIN_HUGE: u64 = 32 << 20;
/// Share of decode that attention takes, from which on its keys and values are worth a word.
const KV_SHARE: f64 = 0.2;

/// Unexplained memory: more than 20 MiB and 5 % of what is resident.
pub(super) fn unexplained(result: &RunResult) -> Option<Found> {
    let (unexplained, rss) = (result.memory.unexplained?, result.memory.rss?);
    let share = unexplained as f64 / rss as f64;
    if unexplained <= UNEXPLAINED.0 || share <= UNEXPLAINED.1 {
        return None;
    }
    Some(
        Found::new(FindingCode::UnexplainedMemory, Use::Note, share)
            .reason(format!("{} MiB are resident that nothing explains", unexplained >> 20))
            .figure("unexplained", unexplained as f64, "B")
            .figure("resident", rss as f64, "B")
            .advice("The engine's libraries allocate beside the plan; the peak may be higher than the table says."),
    )
}

/// Memory nearly full: less than 5 % of the machine's memory was left at the end.
pub(super) fn nearly_full(result: &RunResult) -> Option<Found> {
    let (left, all) = (result.memory.available?, result.host.as_ref()?.memory_bytes.filter(|&all| all > 0)?);
    let share = left as f64 / all as f64;
    if share >= LEFT {
        return None;
    }
    let saved =
        smaller(result).zip(result.model.weight_bytes).map(|(ratio, bytes)| bytes as f64 * (1.0 - ratio));
    let advice = match saved {
        Some(saved) => format!(
            "In {} the weights take about {} less; a shorter context and --kv q8_0 take less too.",
            proposed(result)[0],
            display::bytes(saved as u64)
        ),
        None => "End other programs, or take a shorter context, --kv q8_0 or a smaller model.".to_owned(),
    };
    Some(
        Found::new(FindingCode::MemoryNearlyFull, Use::Doubt, 1.0 - share)
            .reason(format!("{} of {} of memory were left", display::bytes(left), display::bytes(all)))
            .figure("left", left as f64, "B")
            .figure("memory", all as f64, "B")
            .known("resident in the worker", result.memory.rss.map(|rss| rss as f64), "B")
            .advice(advice),
    )
}

/// Cold pages: the worker waited for storage during the measured repetitions, as the kernel's count of major page faults
/// says.
pub(super) fn cold_pages(result: &RunResult) -> Option<Found> {
    let faults = result.memory.major_faults.filter(|&faults| faults >= COLD_FAULTS)?;
    let advice = if result.workload.warmup == 0 {
        "Let a repetition go before: --warmup 1."
    } else {
        "The weights do not stay in memory: free some, or take a smaller format."
    };
    Some(
        Found::new(FindingCode::ColdPages, Use::Doubt, 0.2)
            .reason(format!("the worker waited for storage {faults} times while it was measured"))
            .figure("major page faults", faults as f64, "")
            .advice(advice),
    )
}

/// Huge pages off: the kernel is set to give none, and weights of 32 MiB or more lie in the worker's own memory. Mapped
/// files have none in any case.
pub(super) fn huge_pages(result: &RunResult) -> Option<Found> {
    let weights = result.memory.weights.filter(|&weights| weights >= MIN_HUGE)?;
    let is_mapped = result.memory.mapped.unwrap_or(0) >= weights / 2;
    if result.hygiene.huge_pages.as_deref() != Some("never") || is_mapped {
        return None;
    }
    Some(
        Found::new(FindingCode::HugePagesOff, Use::Gain, 0.02)
            .reason("transparent huge pages are off: weights lie in pages of 4 KiB")
            .figure("weights", weights as f64, "B")
            .advice("`echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled`, then compare."),
    )
}

/// Tied copy: the file stores a matrix that repeats the embedding table, which one copy would serve.
pub(super) fn tied_copy(result: &RunResult) -> Option<Found> {
    let params = result.model.params.filter(|params| params.stored > params.unique)?;
    let copied = params.stored - params.unique;
    let share = copied as f64 / params.stored as f64;
    let advice = match result.model.source {
        ModelSource::Gguf => "A file without `output.weight` is smaller and gives the same answers.",
        ModelSource::Synthetic | ModelSource::Hf => "One copy in memory would do; the answers stay the same.",
    };
    Some(
        Found::new(FindingCode::TiedCopy, Use::Note, share)
            .reason(format!(
                "the output matrix is a copy of the embedding table: {} of the elements are stored twice",
                display::rough_share(share)
            ))
            .figure("elements that are stored twice", copied as f64, "")
            .figure("elements", params.stored as f64, "")
            .advice(advice),
    )
}

/// KV share and format by depth: attention takes a fifth of decode or more. Says which part of a step's bytes keys and
/// values are at the context of this run. A smaller format of the cache is proposed where reading them explains at least
/// half of attention's time, also at the fastest sample of the read roof.
pub(super) fn kv_share(result: &RunResult) -> Option<Found> {
    let decode = || result.ops.iter().filter(|op| op.phase == Phase::Decode && op.lane == HOST_LANE);
    let attention = || decode().filter(|op| op.kind == OpKind::Attention);
    let time: f64 = attention().map(|op| op.share).sum();
    let (kv, all) =
        (saturating_sum(attention().map(|op| op.bytes)), saturating_sum(decode().map(|op| op.bytes)));
    if time < KV_SHARE || all == 0 {
        return None;
    }
    let share = kv as f64 / all as f64;
    let format = result.workload.kv?;
    let left = KvFormat::Q8_0.bytes(32) as f64 / format.bytes(32) as f64;
    let read = explained_by_reading(attention());
    let gain = read.filter(|&read| format != KvFormat::Q8_0 && read >= BOUND_SHARE);
    let (good_for, stake) =
        gain.map_or((Use::Explanation, time), |read| (Use::Gain, time * read * (1.0 - left)));
    let advice = match (format, gain, read) {
        (KvFormat::Q8_0, ..) => {
            "A shorter context makes it faster; the cache has its smallest format.".to_owned()
        }
        (_, Some(_), _) => format!(
            "--kv q8_0 leaves {} of these bytes; the share grows with the context.",
            display::rough_share(left)
        ),
        (_, None, Some(_)) => {
            "A shorter context makes it faster; reading the cache explains less than half of \
                               that time, so a smaller format of it gains little."
                .to_owned()
        }
        (_, None, None) => "A shorter context makes it faster; compare with --kv q8_0.".to_owned(),
    };
    let workload = &result.workload;
    let context = u64::from(workload.depth) + result.prompt_tokens() + u64::from(workload.generate) / 2;
    Some(
        Found::new(FindingCode::KvShare, good_for, stake)
            .reason(format!(
                "attention takes {} of decode at about {context} tokens of context; keys and values are {} of the bytes",
                display::rough_share(time),
                display::rough_share(share)
            ))
            .figure("attention, share of decode", time, "ratio")
            .figure("keys and values, share of the bytes of a step", share, "ratio")
            .known("least time to read them divided by that of attention", read, "ratio")
            .figure("context", context as f64, "tokens")
            .advice(advice),
    )
}

/// Which part of the time of `ops` reading their bytes takes at least, at the fastest sample of the read roof; `None` where
/// the roof of one is not known.
fn explained_by_reading<'a>(ops: impl Iterator<Item = &'a OpRow>) -> Option<f64> {
    let (mut read, mut all) = (0.0, 0.0);
    for op in ops {
        let (roof, time) = (op.roof?, op.time_ns as f64);
        let is_bound = roof.memory_ns >= roof.compute_ns;
        read += if is_bound { roof.low.min(1.0) * time } else { 0.0 };
        all += time;
    }
    (all > 0.0).then(|| read / all)
}
