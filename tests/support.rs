//! What tests share: the device, and a seed that is printed.

use normfree::gpu::{Gpu, OpenOptions};

/// The device of this thread; fails the test, with the remedy, where there is none.
pub fn gpu() -> Gpu {
    open(&OpenOptions::default())
}

/// A device opened with options.
pub fn open(options: &OpenOptions) -> Gpu {
    Gpu::open(options).unwrap_or_else(|fault| panic!("{fault}"))
}

/// The seed of a randomised test: `NORMFREE_SEED`, else one from the clock. Printed, so that a failure can be
/// had again.
pub fn seed() -> u64 {
    let seed = match std::env::var("NORMFREE_SEED") {
        Ok(text) => text.parse().expect("NORMFREE_SEED is a whole number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("the clock is after 1970").subsec_nanos().into()
        }
    };
    println!("seed: NORMFREE_SEED={seed}");
    seed
}
