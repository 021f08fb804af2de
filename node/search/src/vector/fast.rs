//! Runs a kernel as this processor runs it best.
//!
//! For now that is the code that every processor of its family runs: SSE2 on x86-64, NEON on 64-bit ARM. A second copy for
//! AVX2 needs a crate that calls it safely, see docs/decisions/0013-vector-index.md; it changes this file and no other.

/// A piece of work whose code may be compiled more than once. `call` and all that it calls must be inlined.
pub(super) trait Kernel {
    type Output;
    fn call(self) -> Self::Output;
}

#[inline(always)]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.call()
}
