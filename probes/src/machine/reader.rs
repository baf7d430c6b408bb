//! Which program runs the probes: a user's own, or the service as it is shipped.

use crate::machine::root::Root;

/// The shipped unit. It has `NoNewPrivileges`, so a program's rights are set in the unit and not on its file.
pub(crate) const SERVICE: &str = "slmscoped.service";

/// The program and user that a remedy is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reader {
    /// Its user, as in `/etc/passwd`.
    pub(crate) user: String,
    /// Its group, as in `/etc/group`; the number where it has no name.
    pub(crate) group: String,
    /// The program's file.
    pub(crate) program: String,
    /// Whether this is the system's service.
    pub(crate) is_service: bool,
}

impl Reader {
    /// This process.
    pub(crate) fn own(root: &Root) -> Self {
        let gid = rustix::process::getegid().as_raw();
        let program = std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
        Self {
            user: user(),
            group: name("/etc/group", gid).unwrap_or_else(|| gid.to_string()),
            program: program.unwrap_or_else(|| "slmscoped".to_owned()),
            is_service: root.is_live() && root.text("proc/self/cgroup").is_ok_and(|text| is_service(&text)),
        }
    }
}

/// Name of the user who runs this, as in `/etc/passwd`; the number where there is no name.
pub(crate) fn user() -> String {
    let uid = rustix::process::geteuid().as_raw();
    name("/etc/passwd", uid).unwrap_or_else(|| format!("uid {uid}"))
}

/// The first field of the line whose third is `number`.
fn name(file: &str, number: u32) -> Option<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, own) = (fields.next()?, fields.next()?, fields.next()?);
        (own.parse() == Ok(number)).then(|| name.to_owned())
    })
}

/// Whether `/proc/self/cgroup` names the system's unit. A user's own service manager has units of that name too,
/// in the user's slice.
fn is_service(cgroup: &str) -> bool {
    cgroup.lines().any(|line| line.ends_with(&format!(":/system.slice/{SERVICE}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_known_by_its_group() {
        assert!(is_service("0::/system.slice/slmscoped.service\n"));
        assert!(is_service("2:cpu:/\n1:name=systemd:/system.slice/slmscoped.service\n"));
        for other in [
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/slmscoped.service\n",
            "0::/system.slice/ssh.service\n",
            "0::/\n",
            "",
        ] {
            assert!(!is_service(other), "{other}");
        }
    }
}
