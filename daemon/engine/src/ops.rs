//! The operations on f32 activations, as plain functions on slices.
//!
//! Each is written once, as a body that is plain Rust: the scalar reference. `versions` compiles the body
//! again for each instruction set, in which the compiler turns its loops into vector code, and picks one at
//! run time. Sums run over 16 lanes in every version, so all of them add in the same order. Only attention
//! has inner loops in vector types (see `simd`).

pub mod activation;
pub mod attention;
pub mod elementwise;
mod math;
pub mod norm;
pub mod recurrent;
pub mod rope;
mod simd;

pub use simd::{Element, Simd};

/// Lanes of a sum; what the widest registers hold.
const LANES: usize = 16;

/// Defines a function that takes the instruction set first and runs the body of the same arguments, compiled
/// for it. The body is `#[inline(always)]`.
macro_rules! versions {
    ($(#[$doc:meta])* $visible:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) = $body:path;) => {
        $(#[$doc])*
        #[expect(clippy::allow_attributes, reason = "not every function has enough arguments")]
        #[allow(clippy::too_many_arguments, reason = "one slice for each tensor of the formula")]
        $visible fn $name(simd: $crate::ops::Simd, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2($($argument: $type),*) {
                    $body($($argument),*);
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
                fn avx512($($argument: $type),*) {
                    $body($($argument),*);
                }
                #[expect(unsafe_code, reason = "calls a function compiled for more than the baseline")]
                match simd {
                    // SAFETY: `Simd` names an instruction set only if the CPU has it.
                    $crate::ops::Simd::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    $crate::ops::Simd::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::ops::Simd::Baseline => {}
                }
            }
            let _ = simd;
            $body($($argument),*);
        }
    };
}
use versions;
