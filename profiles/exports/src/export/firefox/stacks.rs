//! Stacks of a thread: a tree whose nodes have a frame each.

use std::collections::HashMap;
use std::io::{self, Write};

use super::super::names::NameId;
use super::column::{array, same};

/// Number of a stack in its thread.
pub(super) type StackId = u32;

/// Number of a category in the document.
pub(super) type Category = usize;

type FrameId = u32;

/// The tables of stacks and frames of a thread.
#[derive(Default)]
pub(super) struct StackTable {
    /// The enclosing stack, and the frame.
    stacks: Vec<(Option<StackId>, FrameId)>,
    stack_ids: HashMap<(Option<StackId>, FrameId), StackId>,
    frames: Vec<(NameId, Option<Category>)>,
    frame_ids: HashMap<(NameId, Option<Category>), FrameId>,
}

impl StackTable {
    /// The stack with one more frame; one without a category has that of the frame around it.
    pub(super) fn id(&mut self, outer: Option<StackId>, name: NameId, category: Option<Category>) -> StackId {
        let frame = *self.frame_ids.entry((name, category)).or_insert_with(|| {
            self.frames.push((name, category));
            (self.frames.len() - 1) as FrameId
        });
        *self.stack_ids.entry((outer, frame)).or_insert_with(|| {
            self.stacks.push((outer, frame));
            (self.stacks.len() - 1) as StackId
        })
    }

    /// Writes the tables of stacks, frames and functions; each frame has a function of its own.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let or_null =
            |number: Option<u64>| number.map_or_else(|| "null".to_owned(), |number| number.to_string());
        let (stacks, frames) = (self.stacks.len() as u64, self.frames.len() as u64);
        out.write_all(b"\"stackTable\":{")?;
        array("frame", self.stacks.iter().map(|stack| stack.1), out)?;
        array("prefix", self.stacks.iter().map(|stack| or_null(stack.0.map(u64::from))), out)?;
        write!(out, "\"length\":{stacks}}},\"frameTable\":{{")?;
        let category = |frame: &(NameId, Option<Category>)| frame.1.map(|number| number as u64);
        array("category", self.frames.iter().map(|frame| or_null(category(frame))), out)?;
        array("subcategory", self.frames.iter().map(|frame| or_null(category(frame).map(|_| 0))), out)?;
        array("func", 0..frames, out)?;
        for (column, value) in [
            ("address", "-1"),
            ("inlineDepth", "0"),
            ("nativeSymbol", "null"),
            ("innerWindowID", "null"),
            ("line", "null"),
            ("column", "null"),
        ] {
            same(column, value, frames, out)?;
        }
        write!(out, "\"length\":{frames}}},\"funcTable\":{{")?;
        array("name", self.frames.iter().map(|frame| frame.0), out)?;
        for (column, value) in [
            ("isJS", "false"),
            ("relevantForJS", "false"),
            ("resource", "-1"),
            ("source", "null"),
            ("lineNumber", "null"),
            ("columnNumber", "null"),
        ] {
            same(column, value, frames, out)?;
        }
        write!(out, "\"length\":{frames}}},")
    }
}
