//! The clients that some processes have at graphics devices, read repeatedly: descriptors that belong to none are
//! read every few times only, and nothing is allocated while they stay the same.

use slmscope_profiles::channel::{Reason, ReasonCode};

use super::{CAP, Client};
use crate::machine::proc_dir::ProcDir;
use crate::machine::root::{Handle, Root};

/// Descriptors of one process that are read.
const MAX_DESCRIPTORS: usize = 4096;

/// Readings after which descriptors that were no graphics device are read again: their numbers are reused.
const LOOK_EVERY: u32 = 10;

/// Descriptors of some processes.
pub struct Clients {
    processes: Vec<Process>,
    readings: u32,
}

struct Process {
    folder: ProcDir,
    present: Vec<u32>,
    /// Of graphics devices.
    known: Vec<(u32, Handle, Client)>,
    /// The others, ascending.
    others: Vec<u32>,
}

impl Clients {
    /// Opens the folders of processes. Their descriptors are opened by [`read`](Self::read).
    ///
    /// # Errors
    /// The reason why one cannot be opened.
    pub fn of(root: &Root, pids: &[u32]) -> Result<Self, Reason> {
        let process = |pid| {
            let folder = ProcDir::open(root, &format!("proc/{pid}/fdinfo"), MAX_DESCRIPTORS)?;
            Ok(Process { folder, present: Vec::new(), known: Vec::new(), others: Vec::new() })
        };
        Ok(Self { processes: pids.iter().map(process).collect::<Result<_, _>>()?, readings: 0 })
    }

    /// Reads all of them. Descriptors that are no graphics device, or may not be read, are left out; a client
    /// that is open under several descriptors, or in several processes, comes once.
    ///
    /// # Errors
    /// What the error number means; a process that ended has vanished.
    pub fn read(&mut self) -> Result<impl Iterator<Item = &Client> + Clone, ReasonCode> {
        let look = self.readings.is_multiple_of(LOOK_EVERY);
        self.readings = self.readings.wrapping_add(1);
        for process in &mut self.processes {
            process.read(look)?;
        }
        let all = self.processes.iter().flat_map(|process| &process.known).map(|(.., client)| client);
        let before = all.clone();
        Ok(all.enumerate().filter_map(move |(at, client)| {
            let repeats = before.clone().take(at).any(|other| other.is_same(client));
            (!repeats).then_some(client)
        }))
    }
}

impl Process {
    fn read(&mut self, look: bool) -> Result<(), ReasonCode> {
        let Self { folder, present, known, others } = self;
        folder.list(present)?;
        if look {
            others.clear();
        }
        let mut buffer = [0; CAP];
        known.retain_mut(|(number, handle, client)| {
            present.binary_search(number).is_ok()
                && handle.read_all(&mut buffer).is_ok_and(|text| client.update(text))
        });
        others.retain(|number| present.binary_search(number).is_ok());
        for &number in &*present {
            let Err(place) = others.binary_search(&number) else { continue };
            if known.iter().any(|(other, ..)| *other == number) {
                continue;
            }
            let mut client = Client::default();
            match folder.entry(number) {
                Ok(handle) if handle.read_all(&mut buffer).is_ok_and(|text| client.update(text)) => {
                    known.push((number, handle, client));
                }
                _ => others.insert(place, number),
            }
        }
        Ok(())
    }
}
