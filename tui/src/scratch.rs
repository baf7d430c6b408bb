//! A file without a name, for what is read once.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty file in the folder for temporary ones, for reading and writing. It is gone once it is closed.
///
/// # Errors
/// If the folder cannot be written.
pub fn file() -> io::Result<File> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(".slmscope-{}-{count}", std::process::id()));
        // Nothing that is there is opened, whoever put it there.
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn it_is_written_and_read_and_has_no_name() {
        let mut file = file().unwrap();
        file.write_all(b"content").unwrap();
        file.rewind().unwrap();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        let metadata = file.metadata().unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&metadata), 0);
    }
}
