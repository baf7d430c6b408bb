//! An allocator that knows how much each thread holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counted by thread.
pub(crate) struct Counting;

/// Begins a measurement: what this thread holds now.
pub(crate) fn start() -> usize {
    let held = HELD.get();
    PEAK.set(held);
    held
}

/// The most that this thread held since then, beyond what it held at the start.
pub(crate) fn peak_since(start: usize) -> usize {
    PEAK.get().saturating_sub(start)
}

fn grow(bytes: usize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn shrink(bytes: usize) {
    // Memory may come from another thread.
    let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(bytes)));
}

#[expect(unsafe_code, reason = "an allocator is unsafe by nature")]
// SAFETY: every call is passed on to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise is the one that this call needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        shrink(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}
