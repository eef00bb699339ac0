//! Stateless random bits, the same on every device. Twin of `shaders/shared/random.wgsl`, which names the
//! source of the mixing function.

/// Mixes four words into four.
fn mix(words: [u32; 4]) -> [u32; 4] {
    let mut v = mix_round(words.map(|v| v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
    v = mix_round(v.map(|v| v ^ (v >> 16)));
    mix_round(v.map(|v| v ^ (v >> 16)))
}

fn mix_round([mut x, mut y, mut z, mut w]: [u32; 4]) -> [u32; 4] {
    x = x.wrapping_add(y.wrapping_mul(w));
    y = y.wrapping_add(z.wrapping_mul(x));
    z = z.wrapping_add(x.wrapping_mul(y));
    w = w.wrapping_add(y.wrapping_mul(z));
    [x, y, z, w]
}

/// Groups of four words that [`Stream::words`] computes at once.
pub const LANES: usize = 16;

/// [`mix`] of many groups, one operation for all of them at a time, in plain loops, which the compiler vectorises.
#[inline(always)]
fn mix_all(mut words: [[u32; LANES]; 4]) -> [[u32; LANES]; 4] {
    for v in words.as_flattened_mut() {
        *v = v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    }
    round_all(&mut words);
    for _ in 0..2 {
        for v in words.as_flattened_mut() {
            *v ^= *v >> 16;
        }
        round_all(&mut words);
    }
    words
}

#[inline(always)]
fn round_all([x, y, z, w]: &mut [[u32; LANES]; 4]) {
    multiply_add(x, y, w);
    multiply_add(y, z, x);
    multiply_add(z, x, y);
    multiply_add(w, y, z);
}

/// `sum += a · b`.
#[inline(always)]
fn multiply_add(sum: &mut [u32; LANES], a: &[u32; LANES], b: &[u32; LANES]) {
    for (sum, (a, b)) in sum.iter_mut().zip(a.iter().zip(b)) {
        *sum = sum.wrapping_add(a.wrapping_mul(*b));
    }
}

/// A stream of random words. Every value of the four key words selects a different stream.
#[derive(Clone, Copy, Debug)]
pub struct Stream([u32; 4]);

impl Stream {
    /// The stream of a key: seed low, seed high, counter, site.
    pub fn new(key: [u32; 4]) -> Self {
        Self(mix(key))
    }

    /// The word of element `i`.
    pub fn word(&self, i: usize) -> u32 {
        let [x, y, z, w] = self.0;
        mix([x ^ (i / 4) as u32, y, z, w])[i % 4]
    }

    /// The words of elements 4·`group` and after: those of one group are at the same place in all four.
    #[inline(always)]
    pub fn words(&self, group: usize) -> [[u32; LANES]; 4] {
        let mut words = [[0; LANES]; 4];
        for (lanes, key) in words.iter_mut().zip(self.0) {
            *lanes = [key; LANES];
        }
        for (i, x) in words[0].iter_mut().enumerate() {
            *x ^= (group + i) as u32;
        }
        mix_all(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: usize = 1 << 18;

    /// Within 5.5 standard deviations of one half of `WORDS`: one false alarm in 2e7.
    fn unbiased(ones: usize) -> bool {
        (ones as f64 / WORDS as f64 - 0.5).abs() < 5.5 * 0.5 / (WORDS as f64).sqrt()
    }

    #[test]
    fn every_bit_is_fair_and_independent_of_its_neighbours() {
        let stream = Stream::new([1, 0, 7, 0]);
        for bit in 0..32 {
            let at = |i: usize| stream.word(i) >> bit & 1;
            assert!(unbiased((0..WORDS).filter(|&i| at(i) == 1).count()), "bit {bit}");
            for lag in [1, 4, 128] {
                let equal = (0..WORDS).filter(|&i| at(i) == at(i + lag)).count();
                assert!(unbiased(equal), "bit {bit}, lag {lag}");
            }
        }
    }

    #[test]
    fn many_words_at_once_are_the_same_words() {
        let stream = Stream::new([5, 6, 7, 8]);
        for group in [0, 16, 12_345] {
            let words = stream.words(group);
            for i in 0..4 * LANES {
                assert_eq!(words[i % 4][i / 4], stream.word(4 * group + i));
            }
        }
    }

    #[test]
    fn streams_of_neighbouring_keys_are_independent() {
        let stream = Stream::new([1, 2, 3, 4]);
        for word in 0..4 {
            let mut key = [1, 2, 3, 4];
            key[word] += 1;
            let other = Stream::new(key);
            // The top bits determine the result of a threshold comparison.
            for bit in [31, 30, 29, 28] {
                let equal = (0..WORDS).filter(|&i| (stream.word(i) ^ other.word(i)) >> bit & 1 == 0).count();
                assert!(unbiased(equal), "key word {word}, bit {bit}");
            }
        }
    }

    #[test]
    fn flipping_one_input_bit_flips_half_of_the_output_bits() {
        let keys = 4_096_u32;
        for input in 0..128 {
            let mut flips = [0_u32; 128];
            for k in 0..keys {
                let words = mix([k, !k, k ^ 0x5555, 9]);
                let mut changed = words;
                let mut source = [k, !k, k ^ 0x5555, 9];
                source[input / 32] ^= 1 << (input % 32);
                for (c, v) in changed.iter_mut().zip(mix(source)) {
                    *c ^= v;
                }
                for (b, flips) in flips.iter_mut().enumerate() {
                    *flips += changed[b / 32] >> (b % 32) & 1;
                }
            }
            let mean = flips.iter().sum::<u32>() as f64 / f64::from(keys * 128);
            assert!((mean - 0.5).abs() < 0.03, "input bit {input}: {mean}");
        }
    }
}
