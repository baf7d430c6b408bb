//! Small captured trees, written by the tests that read them.

use std::fs;
use std::path::Path;

use slmscope_probes::{Root, doctor};
use slmscope_profiles::channel::{Quantity, ReasonCode};
use slmscope_profiles::doctor::{DoctorReport, DoctorRow};

/// A tree in a temporary folder.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            tree.file(path, text);
        }
        tree
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A directory where a file belongs: its read fails.
    pub(crate) fn broken(&self, path: &str) {
        fs::create_dir_all(self.0.path().join(path)).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn doctor(&self) -> DoctorReport {
        let report = doctor(&Root::tree(self.path()).unwrap(), None);
        check(&report);
        report
    }
}

/// What holds for every report of a tree.
pub(crate) fn check(report: &DoctorReport) {
    for quantity in Quantity::ALL {
        assert!(report.channels.iter().any(|row| row.quantity == quantity), "no row for {quantity:?}");
    }
    let mut ids: Vec<_> = report.channels.iter().map(|row| row.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), report.channels.len(), "an id occurs twice");
    for row in &report.channels {
        assert!(row.value.is_some() != row.reason.is_some(), "{}: a value or a reason", row.id);
        assert!(row.value.is_none_or(f64::is_finite), "{}", row.id);
        assert!(row.age_ns.is_none(), "{}: what was captured has no age", row.id);
    }
}

pub(crate) fn row<'r>(report: &'r DoctorReport, id: &str) -> &'r DoctorRow {
    report.channels.iter().find(|row| row.id == id).unwrap_or_else(|| {
        let ids: Vec<_> = report.channels.iter().map(|row| row.id.as_str()).collect();
        panic!("no `{id}` in {ids:?}")
    })
}

pub(crate) fn has(report: &DoctorReport, id: &str) -> bool {
    report.channels.iter().any(|row| row.id == id)
}

/// The value of a row, to nine digits.
pub(crate) fn value(report: &DoctorReport, id: &str) -> Option<f64> {
    row(report, id).value.map(|value| (value * 1e9).round() / 1e9)
}

pub(crate) fn reason(report: &DoctorReport, id: &str) -> ReasonCode {
    row(report, id).reason.as_ref().unwrap_or_else(|| panic!("{id} has a value")).code
}
