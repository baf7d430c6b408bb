//! Who may do what over the socket.
//!
//! The group is looked up by name with the C library, which asks directory services as well as `/etc/group`. The client's
//! groups are those that the kernel keeps of the process that connected, so nothing is looked up for the client.

#![expect(unsafe_code, reason = "SO_PEERGROUPS and getgrnam_r have no safe wrapper")]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::sockopt::socket_peercred;

/// The group whose members may submit jobs.
const GROUP: &CStr = c"slmscope";

/// Longest entry of a group that is read, bytes.
const MAX_ENTRY: usize = 1 << 20;

/// What a client may do, and who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    /// Its user.
    pub(super) uid: u32,
    /// May run jobs.
    pub(super) submit: bool,
}

/// The rights of the process at the other end.
///
/// # Errors
/// If the kernel does not say which process that is.
pub(super) async fn of(socket: impl AsFd) -> io::Result<Rights> {
    let peer = socket_peercred(&socket)?;
    let (uid, gid) = (peer.uid.as_raw(), peer.gid.as_raw());
    if uid == 0 || uid == rustix::process::geteuid().as_raw() {
        return Ok(Rights { uid, submit: true });
    }
    let mut groups = peer_groups(&socket);
    groups.push(gid);
    // A directory service may take its time.
    let group = tokio::task::spawn_blocking(|| group_id(GROUP)).await.map_err(io::Error::other)?;
    Ok(Rights { uid, submit: group.is_some_and(|group| groups.contains(&group)) })
}

/// Number of a group; `None` if the system has no such group, or cannot say.
fn group_id(name: &CStr) -> Option<u32> {
    let mut buffer = vec![0; 1024];
    loop {
        let mut group = MaybeUninit::<libc::group>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: the name ends with a zero, and the call writes within `group`, `found` and the given length of
        // `buffer`.
        let error = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                group.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        match error {
            // SAFETY: a pointer that is not null points at `group`, which the call has filled.
            0 => return unsafe { found.as_ref() }.map(|group| group.gr_gid),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < MAX_ENTRY => buffer.resize(buffer.len() * 2, 0),
            _ => return None,
        }
    }
}

/// Supplementary groups of the other end; empty if the kernel does not say.
fn peer_groups(socket: impl AsFd) -> Vec<u32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name() {
        assert_eq!(group_id(c"root"), Some(0));
        assert_eq!(group_id(c"no group has this name"), None);
    }
}
