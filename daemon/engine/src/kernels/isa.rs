//! Which instruction sets this machine has.

pub use slmscope_profiles::isa::Isa;

/// The fastest instruction set that this machine has.
pub fn detect() -> Isa {
    let available = Isa::ALL.into_iter().rev().find(|&isa| is_available(isa));
    available.unwrap_or(Isa::Scalar)
}

/// Whether this machine has the instructions and this build has kernels for them.
#[cfg(target_arch = "x86_64")]
pub fn is_available(isa: Isa) -> bool {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    match isa {
        Isa::Scalar => true,
        Isa::Avx2 => avx2,
        Isa::Avx512Vnni => {
            avx2 && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vnni")
        }
        Isa::Neon | Isa::Dotprod | Isa::I8mm => false,
    }
}

/// Whether this machine has the instructions and this build has kernels for them.
#[cfg(target_arch = "aarch64")]
pub fn is_available(isa: Isa) -> bool {
    let dotprod = std::arch::is_aarch64_feature_detected!("dotprod");
    match isa {
        Isa::Scalar | Isa::Neon => true,
        Isa::Dotprod => dotprod,
        Isa::I8mm => dotprod && std::arch::is_aarch64_feature_detected!("i8mm"),
        Isa::Avx2 | Isa::Avx512Vnni => false,
    }
}

/// Whether this machine has the instructions and this build has kernels for them.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn is_available(isa: Isa) -> bool {
    isa == Isa::Scalar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_one_is_available() {
        assert!(is_available(detect()));
        assert!(is_available(Isa::Scalar));
    }
}
