//! An allocator that knows how much each thread holds, and how much it was asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counted by thread.
pub(crate) struct Counting;

/// Where this thread's counters stood.
pub(crate) struct Count {
    held: usize,
    bytes: usize,
    calls: usize,
}

/// What a thread took since then.
pub(crate) struct Taken {
    /// The most bytes that it held at once, beyond what it held at the start.
    pub(crate) peak: usize,
    /// All bytes that it asked for.
    pub(crate) bytes: usize,
    /// How often it asked.
    pub(crate) calls: usize,
}

impl Count {
    /// Begins a measurement.
    pub(crate) fn start() -> Self {
        PEAK.set(HELD.get());
        Self { held: HELD.get(), bytes: BYTES.get(), calls: CALLS.get() }
    }

    pub(crate) fn taken(&self) -> Taken {
        Taken {
            peak: PEAK.get().saturating_sub(self.held),
            bytes: BYTES.get() - self.bytes,
            calls: CALLS.get() - self.calls,
        }
    }
}

fn grow(bytes: usize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
    let _ = BYTES.try_with(|all| all.set(all.get().saturating_add(bytes)));
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
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
