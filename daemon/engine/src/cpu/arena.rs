//! Memory that is allocated once, when a model is loaded, and cut into buffers.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use half::f16;

use crate::error::LoadError;
use crate::weights::AlignedBytes;

/// Buffers start at multiples of it, bytes: no two share a cache line, and no aligned vector crosses one.
const ALIGNMENT: usize = 64;

/// A number type for which every bit pattern is a value.
pub(super) trait Plain: Copy + Send + Sync {}
impl Plain for f32 {}
impl Plain for f16 {}
impl Plain for i8 {}

/// Zeroed memory to be cut into buffers. The system provides a page when it is first written.
pub(super) struct Arena {
    memory: Arc<Memory>,
    used: usize,
}

struct Memory {
    /// Only kept alive: buffers reach it through pointers.
    _bytes: AlignedBytes,
    start: *mut u8,
    length: usize,
}

#[expect(unsafe_code, reason = "holds a pointer into its own memory")]
// SAFETY: the pointer is only handed on, to buffers that do not overlap.
unsafe impl Send for Memory {}
#[expect(unsafe_code, reason = "holds a pointer into its own memory")]
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// Bytes that [`Arena::cut`] uses for `elements` of `T`.
pub(super) const fn room<T>(elements: usize) -> usize {
    (elements * size_of::<T>()).next_multiple_of(ALIGNMENT)
}

impl Arena {
    /// Allocates `length` bytes. `what` names their use in errors.
    ///
    /// # Errors
    /// [`LoadError::Memory`]
    pub(super) fn new(length: usize, what: &str) -> Result<Self, LoadError> {
        let mut bytes = AlignedBytes::zeroed(length, what)?;
        let start = bytes.as_mut_slice().as_mut_ptr();
        Ok(Self { memory: Arc::new(Memory { _bytes: bytes, start, length }), used: 0 })
    }

    /// The next `elements` as a buffer of zeroes.
    ///
    /// # Panics
    /// If the arena was planned too small.
    pub(super) fn cut<T: Plain>(&mut self, elements: usize) -> Buffer<T> {
        let (at, end) = (self.used, self.used + room::<T>(elements));
        assert!(end <= self.memory.length, "the arena is as large as its buffers together");
        self.used = end;
        #[expect(unsafe_code, reason = "cuts memory into buffers")]
        // SAFETY: inside the memory.
        let start = unsafe { self.memory.start.add(at) }.cast::<T>();
        Buffer { memory: Some(Arc::clone(&self.memory)), start, length: elements, owned: PhantomData }
    }
}

/// A part of an arena that has one owner.
pub(super) struct Buffer<T> {
    /// Keeps the memory; `None` for the empty buffer.
    memory: Option<Arc<Memory>>,
    start: *mut T,
    length: usize,
    owned: PhantomData<T>,
}

#[expect(unsafe_code, reason = "owns its part of an arena through a pointer")]
// SAFETY: as a boxed slice of `T`.
unsafe impl<T: Plain> Send for Buffer<T> {}
#[expect(unsafe_code, reason = "owns its part of an arena through a pointer")]
// SAFETY: as a boxed slice of `T`.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { memory: None, start: std::ptr::dangling_mut(), length: 0, owned: PhantomData }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    #[expect(unsafe_code, reason = "owns its part of an arena through a pointer")]
    fn deref(&self) -> &[T] {
        debug_assert!(self.length == 0 || self.memory.is_some());
        // SAFETY: initialised memory of this many elements, aligned to 64, kept alive by `memory`; no other
        // buffer overlaps it, and a `Buffer` cannot be copied.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    #[expect(unsafe_code, reason = "owns its part of an arena through a pointer")]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_apart() {
        let mut arena = Arena::new(room::<f32>(3) + room::<f16>(40) + room::<f32>(16), "a test").unwrap();
        let (mut a, b, mut c) = (arena.cut::<f32>(3), arena.cut::<f16>(40), arena.cut::<f32>(16));
        drop(arena);
        assert_eq!((a.len(), b.len(), c.len()), (3, 40, 16));
        for start in [a.as_ptr().addr(), b.as_ptr().addr(), c.as_ptr().addr()] {
            assert_eq!(start % ALIGNMENT, 0);
        }
        a.fill(1.0);
        c.fill(2.0);
        assert!(b.iter().all(|value| *value == f16::ZERO));
        assert_eq!(a[..], [1.0; 3]);
        assert!(Buffer::<f32>::default().is_empty());
    }
}
