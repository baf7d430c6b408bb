//! Where a tensor's bytes are, and how they are loaded.
//!
//! A file's tensors stay in its map and are read in place. Synthetic ones are generated into memory of their own.
//! Loading reads all of them once, so that the disk is read in the load phase and not by the first tokens, and damage
//! is found there and not in the logits.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slmscope_profiles::format::WeightFormat;

use crate::error::LoadError;
use crate::map::MappedFile;
use crate::validate_weights::first_not_finite_in_parallel;

/// Loading checks the cancel flag and reports progress after at most this many bytes.
pub(crate) const PIECE: usize = 16 << 20;
/// The smallest page of any supported system.
const PAGE: usize = 4096;
/// The large page of most systems; smaller memory has none.
const HUGE_PAGE: usize = 2 << 20;
/// Cache lines and the widest vector registers.
const ALIGNMENT: usize = 64;

/// The bytes of one tensor.
#[derive(Debug, Clone)]
pub(crate) enum TensorBytes {
    /// In a file's map.
    Mapped(Arc<MappedFile>, Range<usize>),
    /// Generated.
    Owned(Arc<AlignedBytes>),
}

impl TensorBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(file, range) => file.bytes().get(range.clone()).unwrap_or_default(),
            Self::Owned(bytes) => bytes.as_slice(),
        }
    }

    /// Gives the memory of a map back: its bytes were read for the last time.
    pub(crate) fn release(&self) {
        if let Self::Mapped(file, range) = self {
            file.release(range.clone());
        }
    }

    /// Reads all bytes, whole blocks of `format`, into memory, and checks that their numbers are finite. `tensor`
    /// names the tensor in errors.
    pub(crate) fn check(
        &self,
        tensor: &str,
        format: WeightFormat,
        loading: &mut Loading<'_>,
    ) -> Result<(), LoadError> {
        let block = format.block_bytes() as usize;
        let piece = PIECE / block * block;
        for (index, bytes) in self.as_slice().chunks(piece).enumerate() {
            if let Some((at, found)) = first_not_finite_in_parallel(format, bytes) {
                return Err(self.not_finite(tensor, format, index * piece + at, found));
            }
            loading.advance(bytes.len())?;
        }
        Ok(())
    }

    fn not_finite(&self, tensor: &str, format: WeightFormat, at: usize, found: f32) -> LoadError {
        let number = if format.block_elements() > 1 { "the scale" } else { "the number" };
        let (file, what) = match self {
            Self::Mapped(file, range) => {
                (file.name().to_owned(), format!("{number} at byte {}", range.start + at))
            }
            Self::Owned(_) => ("made weights".to_owned(), format!("{number} at byte {at} of the tensor")),
        };
        LoadError::NotFinite { file, tensor: tensor.to_owned(), what, found }
    }
}

/// Zeroed bytes whose first one is aligned for any block type and vector register.
#[derive(Debug)]
pub struct AlignedBytes {
    buffer: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBytes {
    /// Allocates `length` bytes; the system provides zeroed pages as they are written.
    ///
    /// # Errors
    /// [`LoadError::Memory`] if there are none; `what` is what they were for.
    pub fn zeroed(length: usize, what: &str) -> Result<Self, LoadError> {
        let refused = || LoadError::Memory { bytes: length as u64, what: what.to_owned() };
        let room = length.checked_add(ALIGNMENT).ok_or_else(refused)?;
        // `vec![0; n]` gets zeroed pages from the system but aborts if there is no memory. So try a reservation first.
        drop({
            let mut probe = Vec::<u8>::new();
            probe.try_reserve_exact(room).map_err(|_| refused())?;
            probe
        });
        let buffer = vec![0; room];
        prefer_huge_pages(&buffer);
        let start = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Ok(Self { buffer, start, length })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.length]
    }

    /// The bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.length]
    }
}

/// How far loading is, and whether it should go on.
pub struct Loading<'a> {
    cancel: &'a AtomicBool,
    report: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
}

impl<'a> Loading<'a> {
    /// Loads until `cancel` is up; `report` gets the bytes done and the bytes in all, every 16 MiB or more
    /// often.
    pub fn new(cancel: &'a AtomicBool, report: &'a mut dyn FnMut(u64, u64)) -> Self {
        Self { cancel, report, done: 0, total: 0 }
    }

    pub(crate) fn expect(&mut self, total: u64) {
        self.total = total;
    }

    /// Counts `bytes` as loaded.
    ///
    /// # Errors
    /// [`LoadError::Cancelled`] if the flag is up.
    pub(crate) fn advance(&mut self, bytes: usize) -> Result<(), LoadError> {
        self.done += bytes as u64;
        (self.report)(self.done, self.total);
        self.go_on()
    }

    /// Whether loading is still wanted.
    ///
    /// # Errors
    /// [`LoadError::Cancelled`] if the flag is up.
    pub(crate) fn go_on(&self) -> Result<(), LoadError> {
        if self.cancel.load(Ordering::Relaxed) { Err(LoadError::Cancelled) } else { Ok(()) }
    }
}

/// Asks for large pages for `buffer`: hundreds of page faults instead of hundreds of thousands, and fewer TLB misses
/// in every token.
#[expect(unsafe_code, reason = "advice names memory by its address")]
fn prefer_huge_pages(buffer: &[u8]) {
    let start = buffer.as_ptr().align_offset(PAGE);
    let Some(length) = buffer.len().checked_sub(start).map(|rest| rest / PAGE * PAGE) else { return };
    if length < HUGE_PAGE {
        return;
    }
    let memory = buffer[start..].as_ptr().cast_mut().cast();
    // SAFETY: the pages lie inside of `buffer`, and this advice changes how they are backed, not what they hold.
    // Systems without large pages refuse, which leaves everything as it was.
    let _ = unsafe { rustix::mm::madvise(memory, length, rustix::mm::Advice::LinuxHugepage) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_as_long_as_asked() {
        for length in [0, 1, 63, 64, 1000] {
            let mut bytes = AlignedBytes::zeroed(length, "a test").unwrap();
            assert_eq!(bytes.as_slice().len(), length);
            assert_eq!(bytes.as_mut_slice().as_ptr().align_offset(ALIGNMENT), 0);
        }
        assert!(matches!(AlignedBytes::zeroed(usize::MAX, "all"), Err(LoadError::Memory { .. })));
        assert!(matches!(AlignedBytes::zeroed(1 << 60, "too much"), Err(LoadError::Memory { .. })));
    }

    #[test]
    fn loading_is_seen_in_pieces_and_can_be_cancelled() {
        let bytes = TensorBytes::Owned(Arc::new(AlignedBytes::zeroed(PIECE * 2 + 8, "a test").unwrap()));
        let (cancel, mut seen) = (AtomicBool::new(false), Vec::new());
        let mut report = |done, _| seen.push(done);
        bytes.check("t", WeightFormat::F32, &mut Loading::new(&cancel, &mut report)).unwrap();
        assert_eq!(seen, [PIECE as u64, 2 * PIECE as u64, 2 * PIECE as u64 + 8]);

        let mut pieces = 0;
        let mut report = |_, _| {
            pieces += 1;
            cancel.store(true, Ordering::Relaxed);
        };
        let result = bytes.check("t", WeightFormat::F32, &mut Loading::new(&cancel, &mut report));
        assert!(matches!(result, Err(LoadError::Cancelled)));
        assert_eq!(pieces, 1);
    }
}
