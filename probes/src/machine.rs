//! What the machine is and how its files are read: the root, open files and deadlines; the board, its cores and
//! its system.

pub(crate) mod board;
pub(crate) mod caches;
pub(crate) mod clock;
pub(crate) mod control_group;
pub(crate) mod cores;
pub(crate) mod deadline;
pub mod host;
pub(crate) mod proc_dir;
pub(crate) mod reader;
pub(crate) mod root;
pub(crate) mod system;
pub(crate) mod topology;
