//! The table of a sweep: a row for each run of a point, in CSV, Parquet and JSON with the same columns.
//!
//! Names end in their unit. A value that is absent is an empty field in CSV and null elsewhere; a run that measured
//! nothing has its reason in `error`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};
use slmscope_profiles::campaign::{Candidate, Figure, Front, Measure, Outcome, Scatter, Swept};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::hygiene::Grade;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::roofline::Bound;
use slmscope_profiles::workload::Workload;

use crate::export::ColumnKind::{Integer, Real, Text};
use crate::export::{Cell, Column, CsvRows, ParquetRows, Rows};

/// Formats of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Comma-separated text.
    Csv,
    /// Columns with types.
    Parquet,
    /// One object, which also holds the front.
    Json,
}

impl TableFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Parquet, Self::Json];

    /// The end of the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Json => "json",
        }
    }
}

const COLUMNS: &[Column] = &[
    ("point", Integer),
    ("round", Integer),
    ("status", Text),
    ("error", Text),
    ("model", Text),
    ("model_source", Text),
    ("model_hash", Text),
    ("format", Text),
    ("weight_bytes", Integer),
    ("prompt", Integer),
    ("generate", Integer),
    ("depth", Integer),
    ("threads", Integer),
    ("cores", Text),
    ("executor", Text),
    ("isa", Text),
    ("kv", Text),
    ("seed", Integer),
    ("decode_tokens_per_s", Real),
    ("decode_tokens_per_s_low", Real),
    ("decode_tokens_per_s_high", Real),
    ("forward_tokens_per_s", Real),
    ("prefill_tokens_per_s", Real),
    ("prefill_tokens_per_s_low", Real),
    ("prefill_tokens_per_s_high", Real),
    ("ttft_ns", Real),
    ("token_p99_ns", Real),
    ("load_ns", Real),
    ("memory_bytes", Real),
    ("joules_per_token", Real),
    ("joules_per_token_low", Real),
    ("joules_per_token_high", Real),
    ("energy_scope", Text),
    ("decode_of_roof", Real),
    ("decode_bound", Text),
    ("on_front", Integer),
    ("grade", Text),
    ("start_celsius", Real),
    ("note", Text),
    ("machine", Text),
    ("cpu_model", Text),
    ("run_id", Text),
    ("date", Text),
    ("took_ns", Integer),
    ("slmscope", Text),
];

/// Writes the table of a sweep.
///
/// # Errors
/// If the output takes no more.
pub fn write(format: TableFormat, swept: &Swept<'_>, out: impl Write) -> io::Result<()> {
    match format {
        TableFormat::Csv => fill(&mut CsvRows::new(out), swept),
        TableFormat::Parquet => fill(&mut ParquetRows::new(out), swept),
        TableFormat::Json => {
            let mut out = out;
            serde_json::to_writer(&mut out, &document(swept)?)?;
            out.write_all(b"\n")?;
            out.flush()
        }
    }
}

fn fill(rows: &mut impl Rows, swept: &Swept<'_>) -> io::Result<()> {
    rows.begin(COLUMNS)?;
    for (outcome, run) in swept.rows() {
        let scope = run.energy_scope.as_ref().map(ToString::to_string);
        let point = swept.plan.point(outcome.run.point);
        let cores = point.and_then(|point| point.workload.as_ref()?.cores).map(|cores| cores.to_string());
        rows.row(&cells(swept, outcome, run, scope.as_deref(), cores.as_deref()))?;
    }
    rows.finish()
}

/// What `sweep --json` prints.
#[derive(Debug, Serialize)]
pub struct SweepDocument<'a> {
    schema: &'static str,
    about: &'a str,
    /// Options that are not the same in all points.
    varying: &'a [String],
    /// Runs that were planned, and those that have ended.
    planned: usize,
    ended: usize,
    front: &'a Front,
    front_points: &'a [u32],
    /// How much two runs of one point differ; null without two runs of any.
    scatter: Option<Scatter>,
    rows: Vec<Map<String, Value>>,
}

/// The table as one object.
///
/// # Errors
/// None that a table in memory has.
pub fn document<'a>(swept: &'a Swept<'_>) -> io::Result<SweepDocument<'a>> {
    let mut rows = Objects(Vec::new());
    fill(&mut rows, swept)?;
    Ok(SweepDocument {
        schema: "slmscope.sweep-table/1",
        about: &swept.plan.about,
        varying: &swept.plan.varying,
        planned: swept.plan.runs().len(),
        ended: swept.outcomes.len(),
        front: &swept.front,
        front_points: &swept.front_points,
        scatter: swept.scatter,
        rows: rows.0,
    })
}

/// Rows as JSON objects.
struct Objects(Vec<Map<String, Value>>);

impl Rows for Objects {
    fn begin(&mut self, _: &'static [Column]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let value = |cell: &Cell<'_>| match *cell {
            Cell::Absent => Value::Null,
            Cell::Integer(number) => Value::from(number),
            Cell::Real(number) => Value::from(number),
            Cell::Text(text) => Value::from(text),
        };
        let pairs = COLUMNS.iter().zip(cells).map(|(&(name, _), cell)| (name.to_owned(), value(cell)));
        self.0.push(pairs.collect());
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A row, in the order of [`COLUMNS`].
fn cells<'a>(
    swept: &'a Swept<'_>,
    outcome: &'a Outcome,
    run: &'a Candidate,
    energy_scope: Option<&'a str>,
    cores: Option<&'a str>,
) -> Vec<Cell<'a>> {
    let point = swept.plan.point(outcome.run.point);
    let workload: Option<&Workload> = point.and_then(|point| point.workload.as_ref());
    let result: Option<&RunResult> = outcome.result.as_deref();
    let figure = |measure: Measure| run.figure(measure);
    let [decode, prefill, joules] = [Measure::Decode, Measure::Prefill, Measure::JoulesPerToken].map(figure);
    let value = |measure: Measure| Cell::from(figure(measure).value);
    let ends = |figure: &Figure| [figure.value, figure.low, figure.high].map(Cell::from);
    let bound = run.phases.iter().find(|shares| shares.phase.as_str() == "decode");
    let forward = result.and_then(|result| result.summary.forward_tokens_per_s);
    let kv = result.and_then(|result| result.workload.kv).or(workload.and_then(|workload| workload.kv));
    let mut cells: Vec<Cell<'a>> = vec![
        outcome.run.point.into(),
        outcome.run.round.into(),
        if outcome.error.is_none() { "complete" } else { "failed" }.into(),
        outcome.error.as_deref().into(),
        run.model.as_str().into(),
        source(run.source).into(),
        run.model_hash.as_deref().into(),
        run.format.or(workload.and_then(|workload| workload.format)).map(WeightFormat::name).into(),
        result.and_then(|result| result.model.weight_bytes).into(),
        run.prompt.into(),
        run.generate.into(),
        run.depth.into(),
        run.threads.into(),
        cores.into(),
        run.executor.as_str().into(),
        run.isa.as_deref().into(),
        kv.map(KvFormat::name).into(),
        workload.map(|workload| workload.seed).into(),
    ];
    cells.extend(ends(decode));
    cells.push(forward.map(|rate| rate.median).into());
    cells.extend(ends(prefill));
    cells.extend([Measure::Ttft, Measure::TokenP99, Measure::Load, Measure::Memory].map(value));
    cells.extend(ends(joules));
    let rest: [Cell<'a>; 13] = [
        energy_scope.into(),
        bound.and_then(|shares| shares.of_roof).into(),
        bound.and_then(|shares| shares.bound).map(Bound::as_str).into(),
        u64::from(swept.front_points.contains(&outcome.run.point)).into(),
        run.grade.map(Grade::as_str).into(),
        outcome.start_celsius.into(),
        outcome.note.as_deref().into(),
        run.machine.as_deref().into(),
        run.cpu_model.as_deref().into(),
        run.run_id.as_deref().into(),
        run.date.as_deref().into(),
        outcome.took_ns.into(),
        run.slmscope.as_str().into(),
    ];
    cells.extend(rest);
    cells
}

fn source(source: ModelSource) -> &'static str {
    match source {
        ModelSource::Synthetic => "synthetic",
        ModelSource::Gguf => "gguf",
        ModelSource::Hf => "hf",
    }
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::campaign::{PointRun, Sweep};

    use super::*;

    #[test]
    fn all_formats_have_the_same_rows() {
        let mut sweep = Sweep::new("two points");
        sweep.set("threads", "1..2").unwrap();
        let plan = sweep.plan().unwrap();
        let run = |point| PointRun { point, round: 1 };
        let failed = |point, why: &str| Outcome::new(run(point), None, Some(why.to_owned()), 7);
        let swept = Swept::of(&plan, vec![failed(1, "no, \"room\""), failed(2, "é")]);
        let mut csv = Vec::new();
        write(TableFormat::Csv, &swept, &mut csv).unwrap();
        let csv = String::from_utf8(csv).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].split(',').count(), COLUMNS.len());
        assert!(
            lines[1]
                .starts_with("1,1,failed,\"no, \"\"room\"\"\",smollm2-135m,synthetic,,,,512,128,0,1,,cpu"),
            "{csv}"
        );
        assert_eq!(lines[2].split(',').count(), COLUMNS.len());
        let mut json = Vec::new();
        write(TableFormat::Json, &swept, &mut json).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((json["planned"].as_u64(), json["ended"].as_u64()), (Some(2), Some(2)));
        assert_eq!(json["rows"][1]["error"], "é");
        assert_eq!(json["rows"][1].as_object().unwrap().len(), COLUMNS.len());
        assert!(json["rows"][0]["decode_tokens_per_s"].is_null());
        let mut parquet = Vec::new();
        write(TableFormat::Parquet, &swept, &mut parquet).unwrap();
        assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    }
}
