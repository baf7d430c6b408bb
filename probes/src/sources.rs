//! The sources: each finds its channels, enters them into the catalogue and reads them.
//!
//! | room | reads |
//! |---|---|
//! | [`cpu`] | CPU time, clock frequencies, throttling |
//! | [`load`] | what processes use: our own, all others, the control group, pressure |
//! | [`memory`] | memory of the machine and memory traffic |
//! | [`power`] | energy counters, batteries, power meters, and the total of the board |
//! | [`sensors`] | hardware monitors and thermal zones |
//! | [`accelerators`] | graphics processors and neural accelerators |
//! | [`perf`] | the kernel's performance counters, for several of the others |
//! | [`files`], [`pci`] | channels that are one file each; devices that sleep |

pub mod accelerators;
pub(crate) mod cpu;
pub(crate) mod files;
pub mod load;
pub mod memory;
pub(crate) mod pci;
pub(crate) mod perf;
pub(crate) mod power;
pub(crate) mod sensors;
