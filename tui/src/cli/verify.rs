//! `slmscope verify`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::workload::ExecutorKind;

use super::number;
use crate::failure::Failure;

/// Options of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "Golden files:
  golden.safetensors   input_ids, logits, greedy: from transformers, in f32 on
                       the stored values
  JSON                 ids, logits, greedy, optionally exact: from llama.cpp
  JSON                 cases with text, ids, top, exact, greedy, greedy_margin:
                       for real text

Exit codes: 0 within the tolerances, 1 error, 2 wrong flags,
4 out of tolerance.")]
pub struct VerifyArgs {
    /// A .gguf file, a directory with config.json and safetensors, hf:org/name or hf:org/name:file
    model: String,
    /// File with this model's reference logits
    #[arg(long, value_name = "FILE")]
    golden: PathBuf,
    /// Format of the KV cache: f32 f16 q8_0; the tolerances are meant for f32
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    kv: KvFormat,
    /// Executor: cpu (slmscope's own kernels) or candle
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    executor: ExecutorKind,
    /// Engine threads [default: the number of physical cores, with candle one less]
    #[arg(short = 't', long, value_name = "N", value_parser = number::threads)]
    threads: Option<NonZeroUsize>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Compares, and returns an exit code that says whether the distances are within the tolerances.
///
/// # Errors
/// If the model or the golden file cannot be used.
#[cfg(feature = "embedded-daemon")]
pub fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    present::run(args)
}

/// Refused: this build has no engine.
#[cfg(not(feature = "embedded-daemon"))]
pub fn run(_: &VerifyArgs) -> Result<ExitCode, Failure> {
    crate::embedded::absent("computing logits in process")
}

#[cfg(feature = "embedded-daemon")]
mod present {
    use slmscope_profiles::display::{self, ABSENT, or_absent};
    use slmscope_profiles::job::ModelRef;
    use slmscope_profiles::verify::{VerifyCase, VerifyReport};
    use slmscope_profiles::workload::Workload;

    use super::{ExitCode, Failure, VerifyArgs};
    use crate::embedded::{self, VerifyOptions, VerifyStep};
    use crate::failure::{print, print_json};
    use crate::model_source;
    use crate::progress::ProgressLine;
    use crate::style::Style;
    use crate::table::{Align, Table};

    pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
        let asked = Workload { executor: args.executor, kv: Some(args.kv), ..Workload::default() };
        asked.validate().map_err(Failure::option)?;
        let chosen = model_source::choose(Some(&args.model))?;
        if let ModelRef::Catalogue(id) = &chosen.model {
            return Err(Failure::error(format!(
                "{id} is a model of the catalogue: its weights are made up, so there are no reference logits for them; \
                 name the .gguf file or the directory that the golden file was made from"
            )));
        }
        let options = VerifyOptions {
            model: chosen.model,
            files: chosen.files,
            golden: args.golden.clone(),
            kv: args.kv,
            executor: args.executor,
            threads: args.threads,
        };
        let mut progress = ProgressLine::new();
        let report = embedded::verify(options, &mut |step| progress.update(|| describe(step)));
        progress.clear();
        let report = report?;
        if args.json {
            print_json(&report)?;
        } else {
            print(&render(&report, Style::of_stdout()))?;
        }
        Ok(ExitCode::from(if report.pass { 0 } else { 4 }))
    }

    fn describe(step: VerifyStep) -> String {
        let share = |done: u64, total: u64| display::share(done as f64 / total.max(1) as f64);
        match step {
            VerifyStep::Loading(done, total) => {
                format!("loading: {} of {}", share(done, total), display::bytes(total))
            }
            VerifyStep::Computing(done, total) => {
                format!("computing: {} of {}", share(done, total), display::plural(total, "token"))
            }
        }
    }

    fn render(report: &VerifyReport, style: Style) -> String {
        let mut text = String::new();
        for case in &report.cases {
            let verdict = if case.pass { "pass".to_owned() } else { style.bad("FAIL") };
            let tokens = display::plural(case.tokens, "token");
            text.push_str(&format!("{}, {tokens}: {verdict}\n", style.bold(&name(&case.name))));
            let columns = [("distance", Align::Left), ("found", Align::Right), ("limit", Align::Right)];
            let mut table = Table::new(&columns);
            let rows = distances(case);
            for row in rows.clone() {
                table.row(row);
            }
            text.push_str(&table.render(style));
            if rows.iter().any(|[_, found, limit]| [found, limit].contains(&&ABSENT.to_owned())) {
                text.push_str("  —: no limit for this kind of reference, or no finite distance\n");
            }
            text.push('\n');
        }
        let least = report
            .top1_least
            .map_or_else(String::new, |least| format!(", at least {} is required", display::share(least)));
        text.push_str(&format!(
            "the best id agrees at {} of the positions{least}\n",
            display::share(report.top1)
        ));
        if let Some(by) = &report.computed_by {
            let threads = display::plural(by.setup.threads.get() as u64, "thread");
            let executor = by.setup.executor.name();
            text.push_str(&format!("computed by {executor} with {threads} and a KV cache in {}\n", by.kv));
        }
        let end =
            if report.pass { style.bold("within the tolerances") } else { style.bad("out of tolerance") };
        text.push_str(&format!("{end}\n"));
        text
    }

    /// Each distance with its limit.
    fn distances(case: &VerifyCase) -> Vec<[String; 3]> {
        let mut rows = Vec::new();
        let limits = &case.tolerances;
        for (what, found, limit) in [
            ("greatest difference / std", case.max_abs_over_std, limits.max_abs_over_std),
            ("rms difference / std", case.rms_over_std, limits.rms_over_std),
            ("divergence, nats", case.kl_mean, limits.kl_mean),
            ("rms from exact / std", case.exact_rms_over_std, limits.exact_rms_over_std),
            ("log-probability from exact, nats", case.mean_abs_logprob, limits.mean_abs_logprob),
        ] {
            if found.is_some() || limit.is_some() {
                rows.push([what.to_owned(), small(found), small(limit)]);
            }
        }
        let decides = limits.max_abs_over_std.or(limits.rms_over_std).or(limits.mean_abs_logprob);
        for check in &case.prefill {
            let what = format!("chunks of {} from token by token", check.rows);
            rows.push([what, small(check.distance), small(decides)]);
        }
        let equal = |equal: bool| if equal { "equal" } else { "different" }.to_owned();
        let what = format!("generated ids, {} compared", case.greedy_compared);
        rows.push([what, equal(case.greedy_equal), "equal".to_owned()]);
        if let Some(ids) = case.ids_equal {
            rows.push(["ids of the text".to_owned(), equal(ids), "equal".to_owned()]);
        }
        rows
    }

    fn small(value: Option<f64>) -> String {
        or_absent(value, |value| if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") })
    }

    /// A name from a file, which may be empty.
    fn name(text: &str) -> String {
        let text = display::printable(text);
        if text.is_empty() { ABSENT.to_owned() } else { text.into_owned() }
    }

    #[cfg(test)]
    mod tests {
        use std::num::NonZeroUsize;

        use slmscope_profiles::format::KvFormat;
        use slmscope_profiles::isa::Isa;
        use slmscope_profiles::setup::Setup;
        use slmscope_profiles::verify::{ComputedBy, PrefillCheck, Tolerances, VERIFY_SCHEMA};
        use slmscope_profiles::workload::ExecutorKind;

        use super::*;
        use crate::pinned;

        fn report() -> VerifyReport {
            let tolerances = Tolerances {
                max_abs_over_std: Some(5e-4),
                rms_over_std: Some(0.03),
                kl_mean: None,
                exact_rms_over_std: None,
                mean_abs_logprob: None,
            };
            let case = VerifyCase {
                name: "golden.safetensors".to_owned(),
                tokens: 24,
                tolerances,
                pass: true,
                max_abs_over_std: Some(3.2e-5),
                rms_over_std: Some(0.0),
                kl_mean: Some(1.5e-9),
                exact_rms_over_std: None,
                top1: 1.0,
                greedy_equal: true,
                greedy_compared: 16,
                ids_equal: Some(true),
                mean_abs_logprob: None,
                prefill: vec![PrefillCheck { rows: 4, distance: Some(2.1e-5), pass: true }],
            };
            let setup = Setup {
                executor: ExecutorKind::Cpu,
                threads: NonZeroUsize::MIN,
                isa: Isa::Avx2,
                cores: None,
            };
            VerifyReport {
                schema: VERIFY_SCHEMA.to_owned(),
                pass: true,
                top1_least: Some(0.95),
                top1: 1.0,
                cases: vec![case],
                computed_by: Some(ComputedBy { setup, kv: KvFormat::F32 }),
            }
        }

        #[test]
        fn outputs_are_pinned_at_80_columns() {
            let right = report();
            pinned::check("verify.txt", &render(&right, pinned::terminal()));
            let mut wrong = right;
            (wrong.pass, wrong.top1) = (false, 0.875);
            for case in &mut wrong.cases {
                (case.pass, case.greedy_equal, case.max_abs_over_std) = (false, false, Some(1.7));
            }
            pinned::check("verify-fail.txt", &render(&wrong, pinned::terminal()));
        }
    }
}
