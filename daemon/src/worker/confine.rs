//! The worker's confinement, applied before it starts a thread or reads a model: a hostile file that takes over the
//! engine can open no files and has no capability. What the kernel does not support is skipped; the rest still applies.

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Makes faults fatal, forbids opening files and core dumps, gives up capabilities that the daemon has for its probes,
/// and makes this process the first that the kernel kills when memory runs out.
pub(super) fn confine() {
    reset_fault_handlers();
    // A core file of a worker is gigabytes of weights.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let steps = [
        ("core limit", setrlimit(Resource::Core, none).map_err(|error| error.to_string())),
        ("oom score", std::fs::write("/proc/self/oom_score_adj", "500").map_err(|error| error.to_string())),
        ("capabilities", set_capabilities(None, NO_CAPABILITIES).map_err(|error| error.to_string())),
        ("landlock", forbid_files().map_err(|error| error.to_string())),
    ];
    for (step, result) in steps {
        if let Err(error) = result {
            tracing::debug!(step, error, "A part of the confinement is not available.");
        }
    }
}

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// Removes the Rust runtime's fault handlers. They return when another process sent the signal; the daemon must see
/// the process end by it, whoever sent it.
#[expect(unsafe_code, reason = "signal dispositions have no safe interface")]
fn reset_fault_handlers() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the default disposition runs no code of this process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The worker gets everything that it needs as open descriptors.
fn forbid_files() -> Result<(), landlock::RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .create()?
        .no_new_privs(true)
        .restrict_self()?;
    Ok(())
}
