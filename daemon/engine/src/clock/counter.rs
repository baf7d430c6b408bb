//! The counter that a core reads in one instruction, and that the kernel's clocks are based on.
//!
//! The read is not ordered with the instructions around it, so it may be off by what the core has in flight, some tens
//! of nanoseconds. Waiting for those instructions would cost as much as reading the kernel's clock.

#[cfg(target_arch = "x86_64")]
mod of_machine {
    use std::arch::x86_64::{__cpuid, _rdtsc};

    /// Whether the processor reports an invariant time-stamp counter: one that runs at one rate in all power states.
    pub(in super::super) fn is_steady() -> bool {
        const POWER: u32 = 0x8000_0007;
        const INVARIANT: u32 = 1 << 8;
        __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & INVARIANT != 0
    }

    #[inline]
    #[expect(unsafe_code, reason = "one instruction of every x86-64")]
    pub(in super::super) fn read() -> u64 {
        // SAFETY: part of x86-64; it reads no memory.
        unsafe { _rdtsc() }
    }
}

#[cfg(target_arch = "aarch64")]
mod of_machine {
    /// The architecture's virtual counter has one rate, and is the same on all cores.
    pub(in super::super) fn is_steady() -> bool {
        true
    }

    #[inline]
    #[expect(unsafe_code, reason = "one instruction of every aarch64")]
    pub(in super::super) fn read() -> u64 {
        let count: u64;
        // SAFETY: Linux lets user space read the virtual counter; nothing else is touched.
        unsafe { std::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack)) };
        count
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod of_machine {
    pub(in super::super) fn is_steady() -> bool {
        false
    }

    pub(in super::super) fn read() -> u64 {
        0
    }
}

pub(super) use of_machine::{is_steady, read};
