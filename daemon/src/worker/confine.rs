//! What the worker gives up before it touches a model: a hostile file that takes the engine over finds
//! nothing to take. What a kernel does not offer is left out; the rest still holds.

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Ends at a fault, opens no further file, dumps no core, and is the first to go when memory runs out.
pub(super) fn confine() {
    die_of_faults();
    // A core file of a worker is gigabytes of weights.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let steps = [
        ("core limit", setrlimit(Resource::Core, none).map_err(|error| error.to_string())),
        ("oom score", std::fs::write("/proc/self/oom_score_adj", "500").map_err(|error| error.to_string())),
        ("landlock", no_files().map_err(|error| error.to_string())),
    ];
    for (step, result) in steps {
        if let Err(error) = result {
            tracing::debug!(step, error, "A part of the confinement is not available.");
        }
    }
}

/// Takes the language runtime's handlers of faults away. They survive a fault signal that another process
/// sent; the daemon is to see the signal, whoever sent it.
#[expect(unsafe_code, reason = "signal dispositions have no safe interface")]
fn die_of_faults() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the default disposition runs no code of this process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Everything that the worker needs was passed to it open.
fn no_files() -> Result<(), landlock::RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .create()?
        .no_new_privs(true)
        .restrict_self()?;
    Ok(())
}
