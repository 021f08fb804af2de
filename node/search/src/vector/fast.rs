//! Runs a kernel as this processor runs it best.
//!
//! Where the processor has AVX2, `pulp` calls a second copy of the kernel that was compiled for it, so that one binary
//! suits every hospital's machines and no line here is unsafe. 64-bit ARM processors have NEON in any case.

/// A piece of work whose code may be compiled more than once. `call` and all that it calls must be inlined.
pub(super) trait Kernel {
    type Output;
    fn call(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    match Avx2::try_new() {
        Some(avx2) => avx2.vectorize(Compiled(kernel)),
        None => kernel.call(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.call()
}

#[cfg(target_arch = "x86_64")]
pulp::simd_type!({
    struct Avx2 {
        avx2: f!("avx2"),
    }
});

#[cfg(target_arch = "x86_64")]
struct Compiled<K>(K);

#[cfg(target_arch = "x86_64")]
impl<K: Kernel> pulp::NullaryFnOnce for Compiled<K> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.0.call()
    }
}
