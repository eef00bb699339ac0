//! One source for every vector width: the compiler vectorises loops for the widest instructions of the CPU that runs them.

pub use pulp::{Simd, WithSimd};
use std::sync::LazyLock;

static ARCH: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// Runs `work` compiled for the widest vector instructions that this CPU has (AVX-512, AVX2 with FMA, or NEON). Only what is
/// inlined into it is compiled so: every function that it calls is `#[inline(always)]`.
pub fn simd<R>(work: impl FnOnce() -> R) -> R {
    ARCH.dispatch(work)
}

/// The same for work that names its vectors: where loops over them come out better than the compiler's own.
pub fn with_simd<W: WithSimd>(work: W) -> W::Output {
    ARCH.dispatch(work)
}
