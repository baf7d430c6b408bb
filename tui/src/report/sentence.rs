//! The result in a sentence: how fast, how sure, what takes the time, and what binds it.

use slmscope_profiles::display;
use slmscope_profiles::op::Phase;
use slmscope_profiles::result::{ModelSource, RunResult};

use super::ops::Part;
use super::{phases, printable};

pub(super) fn of(result: &RunResult) -> String {
    let Some((phase, rate)) = [Phase::Decode, Phase::Prefill]
        .into_iter()
        .find_map(|phase| Some((phase, phases::median(result, phase)?)))
    else {
        return format!("{}: nothing was measured.", model(result));
    };
    let verb = if phase == Phase::Decode { "decodes" } else { "prefills" };
    let (speed, sure) = (display::significant(rate.median), rate.spread(display::significant));
    let speed = format!("{} {verb} {speed} tokens/s ({sure})", model(result));
    let first = result.summary.ttft_ns.map(|ns| format!("; first token after {}", display::duration(ns)));
    let first = first.unwrap_or_default();
    match Part::main(result).filter(|part| part.phase == phase) {
        Some(part) => format!("{speed}: {}; {}{first}.", time(&part), bound(result, &part)),
        None => format!("{speed}{first}."),
    }
}

/// `pythia-160m (q4_0, synthetic)`.
fn model(result: &RunResult) -> String {
    let format = result.model.format.map(|format| format.to_string());
    let is_synthetic = result.model.source == ModelSource::Synthetic;
    let facts: Vec<_> = format.into_iter().chain(is_synthetic.then(|| "synthetic".to_owned())).collect();
    let name = printable(&result.model.id);
    if facts.is_empty() { name } else { format!("{name} ({})", facts.join(", ")) }
}

/// `attention takes 41 %, FFN 38 %`.
fn time(part: &Part<'_>) -> String {
    let mut modules = part.by_module();
    modules.sort_by(|a, b| b.1.share.total_cmp(&a.1.share));
    let mut named = modules.iter().map(|(name, sum)| (words(name), display::rough_share(sum.share)));
    let Some((first, share)) = named.next() else { return "no op was recorded".to_owned() };
    let first = format!("{first} takes {share}");
    named.next().map_or_else(|| first.clone(), |(second, share)| format!("{first}, {second} {share}"))
}

fn words(module: &str) -> &str {
    match module {
        "ffn" => "FFN",
        "lm_head" => "LM head",
        other => other,
    }
}

/// What keeps the ops from being faster, in the words of the tables.
fn bound(result: &RunResult, part: &Part<'_>) -> String {
    let whole = part.whole();
    let Some((percent, what)) = part.reached(&whole) else {
        let why = result.roofs.reason.as_deref().unwrap_or("the plan counts neither bytes nor FLOPs");
        return format!("what binds it is not known ({})", printable(why));
    };
    if let Some(why) = part.above_roof(&whole) {
        return format!("it is above its roof ({why})");
    }
    format!("bound by {what}, at {percent} of its roof")
}
