//! The markers of a thread: what happened at a moment or during a time, with what is known of it.

use std::fmt::Display;
use std::io::{self, Write};

use super::super::names::NameId;
use super::Millis;
use super::column::{Column, same};

/// Numbers of the format: at a moment, and with a begin and an end.
const INSTANT: u32 = 0;
const INTERVAL: u32 = 1;

/// Markers in the order in which they come.
#[derive(Default)]
pub(super) struct Markers {
    data: Column,
    name: Column,
    begin: Column,
    end: Column,
    phase: Column,
}

impl Markers {
    /// Adds one with a begin and an end, ns since the first time of the profile. `data` is JSON.
    pub(super) fn interval(
        &mut self,
        name: NameId,
        begin_ns: u64,
        end_ns: u64,
        data: impl Display,
    ) -> io::Result<()> {
        self.end.push(Millis(end_ns))?;
        self.push(name, begin_ns, INTERVAL, data)
    }

    /// Adds one at a moment.
    pub(super) fn instant(&mut self, name: NameId, t_ns: u64, data: impl Display) -> io::Result<()> {
        self.end.push("null")?;
        self.push(name, t_ns, INSTANT, data)
    }

    fn push(&mut self, name: NameId, begin_ns: u64, phase: u32, data: impl Display) -> io::Result<()> {
        self.begin.push(Millis(begin_ns))?;
        self.name.push(name)?;
        self.phase.push(phase)?;
        self.data.push(data)
    }

    /// Writes the table.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"\"markers\":{")?;
        self.data.write("data", out)?;
        self.name.write("name", out)?;
        self.begin.write("startTime", out)?;
        self.end.write("endTime", out)?;
        self.phase.write("phase", out)?;
        same("category", "0", self.name.length(), out)?;
        write!(out, "\"length\":{}}},", self.name.length())
    }
}
