//! Trees of machines that readers like this one have misread, kept outside the repository; `SLMSCOPE_CASES` names their
//! folder. Each has an `expected.toml` beside it: rows with the value, scope, class or absence that is right.

use std::path::PathBuf;

use slmscope_probes::{Root, doctor};
use slmscope_profiles::channel::{BOARD_POWER, Quantity, Scope, Unit};
use slmscope_profiles::doctor::{DoctorReport, DoctorRow};
use toml::{Table, Value};

use crate::tree::check;

fn cases() -> Option<PathBuf> {
    let folder = std::env::var_os("SLMSCOPE_CASES").map(|folder| PathBuf::from(folder).join("probes"));
    let folder = folder.filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: SLMSCOPE_CASES names no folder with trees in `probes`");
    }
    folder
}

#[test]
fn every_case_says_what_is_right_for_it() {
    let Some(folder) = cases() else { return };
    let mut wrong = Vec::new();
    let mut trees: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    trees.sort();
    for tree in trees.iter().filter(|tree| tree.is_dir()) {
        let name = tree.file_name().unwrap().to_string_lossy().into_owned();
        let expected: Table = std::fs::read_to_string(tree.join("expected.toml")).unwrap().parse().unwrap();
        let report = doctor(&Root::tree(tree).unwrap(), None);
        check(&report);
        wrong.extend(differences(&expected, &report).into_iter().map(|line| format!("{name}: {line}")));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a report says otherwise than expected.
fn differences(expected: &Table, report: &DoctorReport) -> Vec<String> {
    let mut wrong = Vec::new();
    for (family, section) in expected {
        match (family.as_str(), section) {
            ("power" | "energy", Value::Table(parts)) => {
                for (part, section) in parts {
                    let id = match part.as_str() {
                        "total" => Some(BOARD_POWER),
                        "battery" => Some("power.battery"),
                        _ => None,
                    };
                    let rows = section.as_array().cloned().unwrap_or_else(|| vec![section.clone()]);
                    for row in &rows {
                        row_differs(row.as_table().unwrap(), id, report, &mut wrong);
                    }
                }
            }
            ("temp", Value::Array(rows)) => {
                for row in rows {
                    row_differs(row.as_table().unwrap(), None, report, &mut wrong);
                }
            }
            ("unavailable", Value::Table(rows)) => {
                for name in rows.keys() {
                    let row = report.channels.iter().find(|row| row.id.ends_with(name.as_str())).unwrap();
                    let reason = row.reason.as_ref().map_or(String::new(), |reason| reason.detail.clone());
                    if row.value.is_some() || reason.is_empty() || reason.contains("went away") {
                        wrong.push(format!("{}: {:?}, {reason}", row.id, row.value));
                    }
                }
            }
            _ => {}
        }
    }
    wrong
}

fn row_differs(expected: &Table, id: Option<&str>, report: &DoctorReport, wrong: &mut Vec<String>) {
    let text = |key: &str| expected.get(key).and_then(Value::as_str);
    let number =
        |key: &str| expected.get(key).and_then(|it| it.as_float().or(it.as_integer().map(|it| it as f64)));
    if let Some(Value::Array(channels)) = expected.get("channels") {
        return rails_differ(channels, report, wrong);
    }
    let Some(id) = id.or_else(|| text("id")) else { return };
    let repeats =
        |row: &&DoctorRow| row.id == id || row.id.strip_prefix(id).is_some_and(|rest| rest.starts_with('#'));
    let found: Vec<&DoctorRow> = report.channels.iter().filter(repeats).collect();
    let Some(row) = found.first() else {
        return wrong.push(format!("{id}: no such row"));
    };
    let told = row.reason.as_ref().map(|reason| format!("{}: {}", reason.code.as_str(), reason.detail));
    let mut say = |what: &str, expected: &str, is: String| {
        wrong.push(format!("{id}: {what} should be {expected}, is {is} ({told:?})"));
    };
    if text("value").is_some_and(|value| value.starts_with("null")) && row.value.is_some() {
        say("value", text("value").unwrap(), format!("{:?}", row.value));
    }
    for key in ["celsius", "watts", "joules"] {
        if let Some(value) = number(key)
            && row.value.is_none_or(|is| (is - value).abs() > 1e-6 * value.abs().max(1.0))
        {
            say(key, &value.to_string(), format!("{:?}", row.value));
        }
    }
    let scope = text("scope").map(|scope| scope.split(' ').next().unwrap());
    if let Some(scope) = scope.filter(|&scope| row.scope.to_string() != scope) {
        say("scope", scope, row.scope.to_string());
    }
    if let Some(class) =
        text("class").filter(|class| !class.split(" or ").any(|class| row.class.as_str() == class))
    {
        say("class", class, row.class.as_str().to_owned());
    }
    let count =
        expected.get("count").and_then(Value::as_integer).and_then(|count| usize::try_from(count).ok());
    if let Some(count) = count.filter(|&count| found.len() != count) {
        say("count", &count.to_string(), found.len().to_string());
    }
    if let Some(part) = text("from").and_then(|from| from.split(' ').next())
        && !row.source.contains(part)
    {
        say("source", part, row.source.clone());
    }
    if let Some(file) = text("source").and_then(|source| source.strip_suffix(" alone"))
        && (!row.source.ends_with(file) || row.source.contains(" or "))
    {
        say("source", file, row.source.clone());
    }
    if let Some(code) = text("code_not")
        && row.reason.as_ref().is_none_or(|reason| reason.code.as_str() == code)
    {
        say("code", &format!("none but {code}"), format!("{:?}", row.reason));
    }
}

/// Rails by value, in order, whatever they are called.
fn rails_differ(expected: &[Value], report: &DoctorReport, wrong: &mut Vec<String>) {
    let is_rail = |row: &&DoctorRow| {
        row.quantity == Quantity::Power && row.unit == Unit::Watts && matches!(row.scope, Scope::Rail(_))
    };
    let found: Vec<Option<f64>> = report.channels.iter().filter(is_rail).map(|row| row.value).collect();
    let values: Vec<f64> = expected.iter().filter_map(Value::as_float).collect();
    let same = |(is, value): (&Option<f64>, &f64)| is.is_some_and(|is| (is - value).abs() < 1e-9);
    if found.len() != values.len() || !found.iter().zip(&values).all(same) {
        wrong.push(format!("rails: should be {values:?}, are {found:?}"));
    }
}
