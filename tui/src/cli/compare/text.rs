//! Runs side by side as text and as Markdown: the same tables.

use slmscope_exports::page::Words;
use slmscope_profiles::campaign::{Candidate, Choice, Measure, PhaseShares, UnlikeWork};
use slmscope_profiles::display::{self, ABSENT, or_absent, printable};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::site::Module;
use slmscope_profiles::result::RunStatus;

use super::{Compared, NamedRun};
use crate::style::Style;
use crate::table::{Align, Table};

/// A table before it is set.
struct Sheet {
    title: String,
    columns: Vec<(&'static str, Align)>,
    /// Columns that may be left out where the terminal is narrow, the first of these first.
    spare: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

pub(super) fn render(compared: &Compared, style: Style) -> String {
    let mut text = String::new();
    for sheet in sheets(compared) {
        let mut table = Table::new(&sheet.columns);
        for row in sheet.rows {
            table.row(row);
        }
        let left_out = table.fit(style, sheet.spare);
        if !sheet.title.is_empty() {
            text.push_str(&format!("{}\n", style.bold(&sheet.title)));
        }
        text.push_str(&table.render(style));
        if !left_out.is_empty() {
            let words = format!("left out for lack of room: {}", left_out.join(", "));
            text.push_str(&format!("  {}\n", style.dim(&style.wrap_words(&words, 2))));
        }
        text.push('\n');
    }
    for note in notes(compared) {
        text.push_str(&format!("{}\n", style.wrap_words(&note, 2)));
    }
    text
}

pub(super) fn markdown(compared: &Compared) -> String {
    let mut text = String::new();
    for sheet in sheets(compared) {
        if !sheet.title.is_empty() {
            text.push_str(&format!("**{}**\n\n", sheet.title));
        }
        let cell = |cell: &str| printable(cell).replace('|', "\\|").trim().to_owned();
        let line = |cells: &mut dyn Iterator<Item = String>| {
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        text.push_str(&line(&mut sheet.columns.iter().map(|(name, _)| cell(name))));
        let rules = sheet.columns.iter().map(|(_, align)| match align {
            Align::Left => "---".to_owned(),
            Align::Right => "--:".to_owned(),
        });
        text.push_str(&format!("|{}|\n", rules.collect::<Vec<_>>().join("|")));
        for row in &sheet.rows {
            text.push_str(&line(&mut row.iter().map(|text| cell(text))));
        }
        text.push('\n');
    }
    for note in notes(compared) {
        text.push_str(&format!("- {note}\n"));
    }
    text
}

/// What a page says of it; `commands` repeat the runs.
pub(super) fn words(compared: &Compared, commands: &str) -> Words {
    let mut remarks = notes(compared);
    let has_best = compared.choice.is_some() && !remarks.is_empty();
    let count = display::plural(compared.runs.len() as u64, "run");
    let headline = if has_best { remarks.remove(0) } else { format!("{count} side by side") };
    Words { headline, remarks, verdicts: Vec::new(), recipe: commands.to_owned() }
}

fn sheets(compared: &Compared) -> Vec<Sheet> {
    let mut sheets = vec![runs(compared), figures(compared)];
    sheets.extend([Phase::Decode, Phase::Prefill].into_iter().filter_map(|phase| shares(compared, phase)));
    sheets
}

/// What each run is.
fn runs(compared: &Compared) -> Sheet {
    let row = |named: &NamedRun| {
        let run = &named.run;
        let short = named.session.rsplit('/').next().unwrap_or(&named.session);
        vec![
            named.label.clone(),
            short.to_owned(),
            run.machine.clone().or_else(|| run.cpu_model.clone()).unwrap_or_else(|| ABSENT.to_owned()),
            run.model.rsplit('/').next().unwrap_or(&run.model).to_owned(),
            or_absent(run.format, |format| format.to_string()),
            format!("{} {}", or_absent(run.threads, |threads| threads.to_string()), run.executor),
            format!("{}+{}", run.prompt, run.generate),
            run.depth.to_string(),
        ]
    };
    let columns = vec![
        ("", Align::Left),
        ("session", Align::Left),
        ("machine", Align::Left),
        ("model", Align::Left),
        ("format", Align::Left),
        ("threads", Align::Left),
        ("tokens", Align::Right),
        ("depth", Align::Right),
    ];
    let rows = compared.runs.iter().map(row).collect();
    Sheet { title: String::new(), columns, spare: &["depth", "machine"], rows }
}

/// The measures of each run.
fn figures(compared: &Compared) -> Sheet {
    let show = |run: &Candidate, measure: Measure| or_absent(run.value(measure), |value| measure.show(value));
    let rate = |run: &Candidate, measure: Measure| or_absent(run.value(measure), display::significant);
    let spread = |run: &Candidate| {
        let figure = run.figure(Measure::Decode);
        let ends = figure.low.zip(figure.high);
        or_absent(ends, |(low, high)| {
            format!("{} to {}", display::significant(low), display::significant(high))
        })
    };
    let row = |named: &NamedRun| {
        let run = &named.run;
        vec![
            named.label.clone(),
            rate(run, Measure::Decode),
            spread(run),
            rate(run, Measure::Prefill),
            show(run, Measure::Ttft),
            show(run, Measure::Load),
            show(run, Measure::Memory),
            show(run, Measure::JoulesPerToken),
        ]
    };
    let columns = vec![
        ("", Align::Left),
        ("decode tok/s", Align::Right),
        ("spread", Align::Right),
        ("prefill tok/s", Align::Right),
        ("first token", Align::Right),
        ("load", Align::Right),
        ("memory", Align::Right),
        ("J/token", Align::Right),
    ];
    let rows = compared.runs.iter().map(row).collect();
    Sheet { title: String::new(), columns, spare: &["load", "spread"], rows }
}

/// Where the time of a phase goes in each run, and what binds it; `None` if none has the phase.
fn shares(compared: &Compared, phase: Phase) -> Option<Sheet> {
    let of = |run: &Candidate| run.phases.iter().find(|shares| shares.phase == phase).cloned();
    let found: Vec<(&NamedRun, Option<PhaseShares>)> =
        compared.runs.iter().map(|named| (named, of(&named.run))).collect();
    let has = |module: Module| {
        let phases = found.iter().filter_map(|(_, shares)| shares.as_ref());
        phases.flat_map(|shares| &shares.modules).any(|share| share.module == module)
    };
    let modules: Vec<Module> =
        Module::ALL.into_iter().chain([Module::Other]).filter(|&one| has(one)).collect();
    if modules.is_empty() {
        return None;
    }
    let mut columns = vec![("", Align::Left), ("of its roof", Align::Right), ("bound by", Align::Left)];
    columns.extend(modules.iter().map(|module| (module.as_str(), Align::Right)));
    columns.push(("no op", Align::Right));
    let row = |(named, shares): &(&NamedRun, Option<PhaseShares>)| {
        let mut row = vec![named.label.clone()];
        let Some(shares) = shares else {
            row.extend(std::iter::repeat_n(ABSENT.to_owned(), modules.len() + 3));
            return row;
        };
        row.push(or_absent(shares.of_roof, display::share));
        row.push(or_absent(shares.bound, |bound| bound.as_str().to_owned()));
        for module in &modules {
            let share = shares.modules.iter().find(|share| share.module == *module);
            row.push(or_absent(share, |share| display::share(share.share)));
        }
        row.push(display::share(shares.rest));
        row
    };
    let title = format!("time of {} by part of the model", phase.as_str());
    Some(Sheet { title, columns, spare: &["embedding"], rows: found.iter().map(row).collect() })
}

/// `prompt (512 and 50), depth (0 and 4096)`.
pub(super) fn unlike(work: &[UnlikeWork]) -> String {
    let one = |UnlikeWork { what, values }: &UnlikeWork| {
        let values: Vec<String> = values.iter().map(u64::to_string).collect();
        format!("{what} ({})", values.join(" and "))
    };
    work.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What stands below the tables: the best one, and what is to be known of the figures.
fn notes(compared: &Compared) -> Vec<String> {
    let mut notes = compared.choice.as_ref().map_or_else(Vec::new, |choice| best(compared, choice));
    if !compared.unlike_work.is_empty() {
        notes.push(format!("The work is not the same: {}.", unlike(&compared.unlike_work)));
    }
    notes.extend(unlike_energy(compared));
    for named in &compared.runs {
        let run = &named.run;
        if run.status != RunStatus::Complete {
            let reason = run.error.as_deref().unwrap_or("no reason is known");
            notes.push(format!("{} did not complete: {}", named.label, printable(reason)));
        }
    }
    let is_above = |shares: &PhaseShares| shares.of_roof.is_some_and(|share| share > 1.0);
    if compared.runs.iter().any(|named| named.run.phases.iter().any(is_above)) {
        notes.push(
            "Above 100 % of a roof: bytes came from a cache, or the machine was faster than when its roofs were \
             measured; `report --full` says which."
                .to_owned(),
        );
    }
    notes.extend(absences(compared));
    notes.extend(versions(compared));
    notes
}

fn best(compared: &Compared, choice: &Choice) -> Vec<String> {
    let limits: Vec<String> = choice.limits.iter().map(ToString::to_string).collect();
    let within = if limits.is_empty() { String::new() } else { format!(" with {}", limits.join(" and ")) };
    let by = choice.by.name();
    let label = |run: &usize| compared.runs.get(*run).map_or("", |named| named.label.as_str());
    let mut notes = Vec::new();
    match choice.best.and_then(|best| compared.runs.get(best)) {
        None => notes.push(format!("Best by {by}{within}: none.")),
        Some(named) => {
            let value = or_absent(named.run.value(choice.by), |value| choice.by.show(value));
            let mut said = format!("Best by {by}{within}: {} ({value})", named.label);
            let decode = named.run.phases.iter().find(|shares| shares.phase == Phase::Decode);
            if let Some((bound, share)) = decode.and_then(|shares| shares.bound.zip(shares.of_roof)) {
                let share = display::rough_share(share);
                said.push_str(&format!(
                    "; its decode is bound by {}, at {share} of its roof",
                    bound.as_str()
                ));
            }
            notes.push(said + ".");
        }
    }
    if !choice.close.is_empty() {
        let labels: Vec<&str> = choice.close.iter().map(label).collect();
        notes.push(format!("These measurements cannot tell it from {}.", labels.join(", ")));
    }
    for out in &choice.left_out {
        notes.push(format!("{} is left out: {}.", label(&out.run), printable(&out.reasons.join("; "))));
    }
    notes
}

/// Energies of different scopes are not of the same thing.
fn unlike_energy(compared: &Compared) -> Option<String> {
    let with: Vec<(&str, String)> = compared
        .runs
        .iter()
        .filter_map(|named| Some((named.label.as_str(), named.run.energy_scope.as_ref()?.to_string())))
        .collect();
    let (_, first) = with.first()?;
    if with.iter().all(|(_, scope)| scope == first) {
        return None;
    }
    let named: Vec<String> = with.iter().map(|(label, scope)| format!("{label} {scope}")).collect();
    Some(format!("J/token is not of the same parts: {}.", named.join(", ")))
}

/// Why figures are missing, each reason once with the runs that it holds for.
fn absences(compared: &Compared) -> Vec<String> {
    let shown = [Measure::Decode, Measure::Prefill, Measure::Ttft, Measure::Load, Measure::Memory];
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for named in compared.runs.iter().filter(|named| named.run.status == RunStatus::Complete) {
        for measure in shown.into_iter().chain([Measure::JoulesPerToken]) {
            let Some(reason) = &named.run.figure(measure).reason else { continue };
            let said = format!("{}: {}", measure.name(), printable(reason));
            match reasons.iter_mut().find(|(known, _)| *known == said) {
                Some((_, labels)) => labels.push(&named.label),
                None => reasons.push((said, vec![&named.label])),
            }
        }
        for shares in &named.run.phases {
            let Some(reason) = &shares.reason else { continue };
            let said = format!("share of the roof in {}: {}", shares.phase.as_str(), printable(reason));
            match reasons.iter_mut().find(|(known, _)| *known == said) {
                Some((_, labels)) => labels.push(&named.label),
                None => reasons.push((said, vec![&named.label])),
            }
        }
    }
    let line = |(said, labels): (String, Vec<&str>)| format!("{ABSENT} in {}: {said}", labels.join(", "));
    reasons.into_iter().map(line).collect()
}

/// Runs of different versions may not be measured alike.
fn versions(compared: &Compared) -> Option<String> {
    let first = &compared.runs.first()?.run.slmscope;
    if compared.runs.iter().all(|named| named.run.slmscope == *first) {
        return None;
    }
    let named: Vec<String> = compared
        .runs
        .iter()
        .map(|named| format!("{} by {}", named.label, printable(&named.run.slmscope)))
        .collect();
    Some(format!("Measured by different versions of slmscope: {}.", named.join(", ")))
}
