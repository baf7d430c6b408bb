//! Mapping files, and what is no file to map.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use slmscope_engine::map::{MapError, MappedFile};

#[test]
fn maps_a_file_and_sees_that_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    fs::write(&path, b"weights").unwrap();
    let map = MappedFile::new(File::open(&path).unwrap(), "shown.gguf").unwrap();
    assert_eq!((map.bytes(), map.name()), (b"weights".as_slice(), "shown.gguf"));
    assert_eq!(map.identity().size, 7);
    map.unchanged().unwrap();

    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"!").unwrap();
    let error = map.unchanged().unwrap_err();
    assert!(matches!(error, MapError::Changed { .. }));
    assert!(error.to_string().starts_with("shown.gguf: changed while it was in use (7 bytes"), "{error}");
}

#[test]
fn what_was_given_back_reads_as_before_and_takes_no_memory_until_then() {
    let mut file = tempfile::tempfile().unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|index| (index / 7) as u8).collect();
    file.write_all(&content).unwrap();
    let map = MappedFile::new(file, "m.gguf").unwrap();
    let resident = || {
        let text = fs::read_to_string("/proc/self/smaps").unwrap();
        let start = format!("{:x}-", map.bytes().as_ptr().addr());
        let lines = text.lines().skip_while(|line| !line.starts_with(&start));
        let rss = lines.skip(1).find_map(|line| line.strip_prefix("Rss:")).expect("the map is listed");
        rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    assert_eq!(map.bytes(), content);
    assert!(resident() > 2_900);
    map.release(5_000..2_000_000);
    assert!(resident() < 1_200, "{} kB", resident());
    map.release(2_000_000..usize::MAX);
    map.release(std::ops::Range { start: 9, end: 3 });
    assert!(resident() < 100, "{} kB", resident());
    assert_eq!(map.bytes(), content);
}

#[test]
fn what_is_no_regular_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| MappedFile::open(path).unwrap_err().to_string();
    assert!(refused(folder.path()).contains("is a directory, not a regular file"));
    assert!(refused(Path::new("/dev/null")).contains("is a device"));
    assert!(refused(&folder.path().join("absent")).contains("cannot be opened"));

    let empty = folder.path().join("empty.gguf");
    File::create(&empty).unwrap();
    assert!(refused(&empty).contains("is empty"));

    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    assert!(refused(&pipe).contains("is a named pipe"));
}
