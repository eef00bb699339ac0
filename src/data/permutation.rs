//! A shuffle without memory: a bijection of `0..n`, one index at a time.
//!
//! A balanced Feistel network permutes the smallest power of four that holds `n`. An image outside `0..n`
//! goes through again until it falls inside (cycle walking, Black and Rogaway 2002), which keeps the map
//! a bijection and takes fewer than four passes on average. So a checkpoint holds a seed and a counter
//! rather than a list as long as the corpus.

/// More rounds than the four that make a Feistel network pseudo-random: they are cheap, and tiny domains need them.
const ROUNDS: usize = 8;

/// A pseudo-random permutation of `0..len`, determined by `(seed, epoch)`.
#[derive(Clone, Debug)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..len` for `seed` and `epoch`; `len` is at most 2⁶².
    pub fn new(len: u64, seed: u64, epoch: u64) -> Self {
        assert!(len <= 1 << 62, "a permutation of {len} elements does not fit its 62 bits");
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let mut state = mix(seed) ^ mix(epoch.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        });
        Self { len, half_bits: bits.div_ceil(2).max(1), keys }
    }

    /// The image of `index`, which must lie in `0..len`.
    pub fn apply(&self, index: u64) -> u64 {
        assert!(index < self.len, "index {index} of a permutation of {} elements", self.len);
        let mut image = self.feistel(index);
        while image >= self.len {
            image = self.feistel(image);
        }
        image
    }

    fn feistel(&self, index: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (index >> self.half_bits, index & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) >> (u64::BITS - self.half_bits)));
        }
        left << self.half_bits | right
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
