//! Who may do what over the socket.

#![expect(unsafe_code, reason = "SO_PEERGROUPS has no safe wrapper")]

use std::os::fd::{AsFd, AsRawFd};

use rustix::net::sockopt::socket_peercred;

/// The group whose members may submit jobs.
const GROUP: &str = "slmscope";

/// What a client may do, and who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    /// Its user.
    pub(super) uid: u32,
    /// May run jobs.
    pub(super) submit: bool,
}

/// The rights of the process at the other end.
pub(super) fn of(socket: impl AsFd) -> std::io::Result<Rights> {
    let peer = socket_peercred(&socket)?;
    let (uid, gid) = (peer.uid.as_raw(), peer.gid.as_raw());
    let is_owner = uid == 0 || uid == rustix::process::geteuid().as_raw();
    let submit = is_owner || group_id().is_some_and(|group| gid == group || groups(&socket).contains(&group));
    Ok(Rights { uid, submit })
}

/// Number of the group in `/etc/group`; `None` if the system has no such group.
fn group_id() -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(GROUP)?.strip_prefix(':'))?;
    line.split(':').nth(1)?.parse().ok()
}

/// Supplementary groups of the other end; empty if the kernel does not say.
fn groups(socket: impl AsFd) -> Vec<u32> {
    let mut groups = vec![0_u32; 1024];
    let mut bytes = size_of_val(groups.as_slice()) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` bytes into the vector and says how many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    groups.truncate(if result == 0 { bytes as usize / size_of::<u32>() } else { 0 });
    groups
}
