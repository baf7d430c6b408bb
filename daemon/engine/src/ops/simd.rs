//! Vector types behind one trait, and the choice of one at run time.

use half::f16;

use crate::kernels::Isa;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

/// What the f32 operations are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "matched inside the crate")]
pub enum Simd {
    /// What every CPU of the target has: SSE2 on x86-64, NEON on aarch64.
    Baseline,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL, on top of AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// NEON by its intrinsics. The baseline is the same instructions, as the compiler finds them.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Simd {
    /// The widest that this CPU has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (avx2, avx512) {
                (true, true) => return Self::Avx512,
                (true, false) => return Self::Avx2,
                _ => {}
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            Self::Neon
        }
        #[cfg(not(target_arch = "aarch64"))]
        {
            Self::Baseline
        }
    }

    /// What goes with the kernels of `isa`, which this CPU has.
    pub fn with(isa: Isa) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => Self::Avx512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Self::Avx2,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::Dotprod | Isa::I8mm => Self::Neon,
            _ => Self::Baseline,
        }
    }

    /// Those that this CPU has, narrowest first.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        match Self::detect() {
            Self::Avx512 => return vec![Self::Baseline, Self::Avx2, Self::Avx512],
            Self::Avx2 => return vec![Self::Baseline, Self::Avx2],
            Self::Baseline => {}
        }
        #[cfg(target_arch = "aarch64")]
        {
            vec![Self::Baseline, Self::Neon]
        }
        #[cfg(not(target_arch = "aarch64"))]
        {
            vec![Self::Baseline]
        }
    }
}

/// A vector of f32. All of it is `#[inline(always)]`, to become part of a function that is compiled for the
/// instruction set.
///
/// # Safety
/// Every function: the CPU has the instruction set of the type, and pointers lead to [`Vector::LANES`]
/// elements.
#[expect(unsafe_code, reason = "intrinsics and raw pointers in the inner loops of attention")]
pub trait Vector: Copy {
    /// Elements; divides 16.
    const LANES: usize;
    /// Vectors side by side in the wide tile of a product.
    const WIDE: usize;

    /// Zeros.
    unsafe fn zero() -> Self;
    /// `value` in every lane.
    unsafe fn splat(value: f32) -> Self;
    /// From memory, at any address.
    unsafe fn load(from: *const f32) -> Self;
    /// From memory, at any address, widened.
    unsafe fn load_f16(from: *const f16) -> Self;
    /// From memory, at any address, widened.
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: as above; the array has room for the elements.
        unsafe {
            let mut values = [0.0_f32; 16];
            values.iter_mut().take(Self::LANES).enumerate().for_each(|(i, v)| *v = f32::from(*from.add(i)));
            Self::load(values.as_ptr())
        }
    }
    /// One element in every lane.
    #[inline(always)]
    unsafe fn splat_f16(from: *const f16) -> Self {
        // SAFETY: as above.
        unsafe { Self::splat((*from).to_f32()) }
    }
    /// The sum of the lanes.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let mut values = [0.0_f32; 16];
        // SAFETY: as above; the array has room for the elements.
        unsafe { self.store(values.as_mut_ptr()) };
        values.iter().sum()
    }
    /// To memory, at any address.
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + summand`, rounded once where the CPU can.
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// Asks for the cache line at an address that need not be anybody's.
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
}

/// An element of keys and values as they are cached.
pub trait Element: Copy + 'static {
    /// Whether groups of elements have scales.
    const SCALED: bool;

    /// Loads a vector of them, widened.
    ///
    /// # Safety
    /// See `Vector`.
    #[expect(unsafe_code, reason = "raw pointers in the inner loops of attention")]
    unsafe fn load<V: Vector>(from: *const Self) -> V;

    /// Its value, which a scale is still missing from if they are [`Element::SCALED`].
    fn widen(self) -> f32;
}

#[expect(unsafe_code, reason = "raw pointers in the inner loops of attention")]
impl Element for f32 {
    const SCALED: bool = false;

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

#[expect(unsafe_code, reason = "raw pointers in the inner loops of attention")]
impl Element for f16 {
    const SCALED: bool = false;

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_f16(from) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

#[expect(unsafe_code, reason = "raw pointers in the inner loops of attention")]
impl Element for i8 {
    const SCALED: bool = true;

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_i8(from) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }
}

/// Eight elements in plain Rust: what a compiler makes of them on the baseline.
#[derive(Clone, Copy)]
pub struct Plain([f32; 8]);

#[expect(unsafe_code, reason = "raw pointers in the inner loops of attention")]
impl Vector for Plain {
    const LANES: usize = 8;
    const WIDE: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 8])
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f16; 8]>().read_unaligned() }.map(f16::to_f32))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) };
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // aarch64 has fused products in its baseline; where the CPU has none, `f32::mul_add` is a slow call.
        let one = |index: usize| {
            if cfg!(target_arch = "aarch64") {
                self.0[index].mul_add(factor.0[index], summand.0[index])
            } else {
                self.0[index] * factor.0[index] + summand.0[index]
            }
        };
        Self(std::array::from_fn(one))
    }
}
