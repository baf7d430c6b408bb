//! The results of a recording as JSON: the object that `slmscope run --json` prints, a line for each job.

use std::io::{self, Write};

use slmscope_profiles::json;

use super::{Export, Item};

/// Writes results.
pub(super) struct Json<W: Write> {
    out: W,
    results: u64,
}

impl<W: Write> Json<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, results: 0 }
    }
}

impl<W: Write> Export for Json<W> {
    fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        if let Item::Result { result, .. } = item {
            self.results += 1;
            self.out.write_all(&json::to_vec(result)?)?;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.results == 0 {
            let problem = "the recording has no result: it ended before its job did";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        self.out.flush()
    }
}
