//! Runs a kernel as this processor runs it best.
//!
//! Where the processor has AVX2, `pulp` calls a second copy of the kernel that was compiled for it, so that one binary
//! suits every hospital's machines and no line here is unsafe. 64-bit ARM processors have NEON in any case.

/// A piece of work whose code may be compiled more than once. `call` and all that it calls must be inlined.
pub(super) trait Kernel {
    type Output;
    fn call(self, by: impl Products) -> Self::Output;
}

/// Products of codes, by the widest instructions at hand. The compiler's own choice for these uses half a register.
pub(super) trait Products: Copy {
    /// The sum of the products. No sum of [`super::limits::DIMENSION_MAX`] of them overflows.
    fn product(self, a: &[i8], b: &[i8]) -> i32;
}

/// Whatever the processor.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Products for Portable {
    /// A loop and no chain of iterators: what is not inlined here would be compiled without the vector instructions.
    #[inline(always)]
    fn product(self, a: &[i8], b: &[i8]) -> i32 {
        let mut sum = 0i32;
        for (x, y) in a.iter().zip(b) {
            // `wrapping_add`: none overflows, and a check would keep the loop from being vectorised.
            sum = sum.wrapping_add(i32::from(*x) * i32::from(*y));
        }
        sum
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    match Avx2::try_new() {
        Some(avx2) => avx2.vectorize(Compiled(avx2, kernel)),
        None => kernel.call(Portable),
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.call(Portable)
}

#[cfg(target_arch = "x86_64")]
pulp::simd_type!({
    struct Avx2 {
        avx: f!("avx"),
        avx2: f!("avx2"),
        popcnt: f!("popcnt"),
    }
});

#[cfg(target_arch = "x86_64")]
struct Compiled<K>(Avx2, K);

#[cfg(target_arch = "x86_64")]
impl<K: Kernel> pulp::NullaryFnOnce for Compiled<K> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.1.call(self.0)
    }
}

#[cfg(target_arch = "x86_64")]
impl Products for Avx2 {
    #[inline(always)]
    fn product(self, a: &[i8], b: &[i8]) -> i32 {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
        let wide = |codes: [i8; 16]| self.avx2._mm256_cvtepi8_epi16(pulp::cast(codes));
        let mut sums = [self.avx._mm256_setzero_si256(); 2];
        for (a, b) in a.iter().zip(b) {
            let (a, b): ([[i8; 16]; 2], [[i8; 16]; 2]) = (pulp::cast(*a), pulp::cast(*b));
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                let pairs = self.avx2._mm256_madd_epi16(wide(a), wide(b));
                *sum = self.avx2._mm256_add_epi32(*sum, pairs);
            }
        }
        let [even, odd] = sums;
        let lanes: [i32; 8] = pulp::cast(self.avx2._mm256_add_epi32(even, odd));
        let mut sum = Portable.product(a_rest, b_rest);
        for lane in lanes {
            sum = sum.wrapping_add(lane);
        }
        sum
    }
}
