//! Shared by tests: the device, and a seed that is printed.

use normfree::device::Device;
use normfree::gpu::{Gpu, OpenOptions};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};

/// The device of this thread; without one the test fails, with the remedy.
pub fn gpu() -> Device {
    open(&OpenOptions::default())
}

/// A device opened with options.
pub fn open(options: &OpenOptions) -> Device {
    Gpu::open(options).unwrap_or_else(|fault| panic!("{fault}")).into()
}

/// The seed of a randomised test: `NORMFREE_SEED`, else 1. It is printed, so that a failure can be repeated; `make soak` uses
/// a new one each time.
pub fn seed() -> u64 {
    let seed = std::env::var("NORMFREE_SEED")
        .map_or(1, |text| text.parse().expect("NORMFREE_SEED is a whole number"));
    println!("seed: NORMFREE_SEED={seed}");
    seed
}

/// Whether committed results are to be renewed, not compared.
pub fn renews() -> bool {
    std::env::var_os("NORMFREE_RENEW").is_some_and(|value| value == "1")
}

/// proptest's configuration: it draws its cases from that seed.
pub fn cases() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
