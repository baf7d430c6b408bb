//! Where a daemon keeps what outlives it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folder that is `set` in the configuration, else the one called `name` in the folder that systemd gives the service,
/// else in the user's state folder; `None` if there is none of these.
pub(crate) fn folder(set: &Path, name: &str) -> Option<PathBuf> {
    let set = Some(set.to_owned()).filter(|folder| !folder.as_os_str().is_empty());
    set.or_else(|| state_folder(|name| std::env::var_os(name)).map(|state| state.join(name)))
}

/// The daemon's state folder by the variables of its environment.
fn state_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // A path that is not absolute is to be ignored, says the XDG specification.
    let folder = |name| variable(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    // systemd gives several folders separated by colons, this service one.
    let of_service = folder("STATE_DIRECTORY");
    of_service
        .or_else(|| folder("XDG_STATE_HOME").map(|state| state.join("slmscope")))
        .or_else(|| folder("HOME").map(|home| home.join(Path::new(".local/state/slmscope"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_comes_first_then_systemd_then_the_users_state_folder() {
        assert_eq!(folder(Path::new("/srv/results"), "results"), Some("/srv/results".into()));
        let found = |variables: &[(&str, &str)]| {
            let value = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            };
            state_folder(value)
        };
        let (service, state) =
            (("STATE_DIRECTORY", "/var/lib/slmscope"), ("XDG_STATE_HOME", "/home/a/state"));
        let home = ("HOME", "/home/a");
        assert_eq!(found(&[service, state, home]), Some("/var/lib/slmscope".into()));
        assert_eq!(found(&[state, home]), Some("/home/a/state/slmscope".into()));
        assert_eq!(found(&[("XDG_STATE_HOME", "state"), home]), Some("/home/a/.local/state/slmscope".into()));
        assert_eq!(found(&[("XDG_STATE_HOME", "")]), None);
    }
}
