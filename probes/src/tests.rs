//! Small boards that the tests write and move on in time: counters step, wrap, stall and step back, devices
//! fall asleep and vanish.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use slmscope_profiles::channel::{Channel, Value};

use crate::inventory::discover;
use crate::machine::root::Root;
use crate::source::{Lane, Pace};

mod asleep;
mod moving;
pub(crate) mod noise;
mod power;
mod stuck;
mod totals;

/// A board in a temporary folder.
pub(crate) struct Board(tempfile::TempDir);

impl Board {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let board = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            board.set(path, text);
        }
        board
    }

    /// Writes a file; handles that are open see the new text.
    pub(crate) fn set(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn root(&self) -> Root {
        Root::tree(self.0.path()).unwrap()
    }

    /// Discovers what the board has at this moment.
    pub(crate) fn start(&self) -> Machine {
        let inventory = discover(&self.root());
        let mut lanes = inventory.lanes;
        lanes
            .iter_mut()
            .flat_map(|lane| &mut lane.sources)
            .for_each(|source| source.set_pace(Pace::Workload));
        Machine { channels: inventory.channels, lanes }
    }
}

/// A board with the sources that read it.
pub(crate) struct Machine {
    pub(crate) channels: Vec<Channel>,
    lanes: Vec<Lane>,
}

impl Machine {
    /// Reads every source once.
    pub(crate) fn read(&mut self) -> BTreeMap<String, Value> {
        let mut values = Vec::new();
        for source in self.lanes.iter_mut().flat_map(|lane| &mut lane.sources) {
            let before = values.len();
            source.read(&mut values);
            let answered: Vec<_> = values[before..].iter().map(|&(channel, _)| channel).collect();
            assert_eq!(answered.len(), source.channels().len(), "one value for each channel");
            assert!(answered.iter().all(|channel| source.channels().contains(channel)));
        }
        values.into_iter().map(|(id, value)| (self.channels[usize::from(id)].id.clone(), value)).collect()
    }

    pub(crate) fn channel(&self, id: &str) -> &Channel {
        self.channels.iter().find(|channel| channel.id == id).unwrap_or_else(|| {
            let ids: Vec<_> = self.channels.iter().map(|channel| channel.id.as_str()).collect();
            panic!("no `{id}` in {ids:?}")
        })
    }
}
