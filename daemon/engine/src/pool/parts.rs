//! A slice that the chunks of a call write to, each its own part.

use std::marker::PhantomData;
use std::ops::Range;

/// Shared write access to a slice whose parts are handed out by range.
#[derive(Debug)]
pub struct Parts<'a, T> {
    start: *mut T,
    length: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Parts<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Parts<'_, T> {}

#[expect(unsafe_code, reason = "threads write disjoint parts of one slice")]
// SAFETY: parts are only handed out by an unsafe function whose caller promises that they do not overlap.
unsafe impl<T: Send> Sync for Parts<'_, T> {}
#[expect(unsafe_code, reason = "threads write disjoint parts of one slice")]
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Lends `slice`.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), borrowed: PhantomData }
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// No element of `range` is in a part that is used at the same time.
    ///
    /// # Panics
    /// If the slice is shorter.
    #[expect(unsafe_code, clippy::mut_from_ref, reason = "threads write disjoint parts of one slice")]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "{range:?} of {}", self.length);
        // SAFETY: inside the slice, which is borrowed for as long as `self`; the caller promises that nobody
        // else uses these elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
