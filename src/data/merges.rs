//! Byte pair merges, learned from counted words.
//!
//! The merges are those of the trainer in `tokenizers`, in the same order (a test compares them). That trainer takes
//! time quadratic in the length of a word and does not report its progress. This one takes linear time and a quarter
//! of the memory, and reports each token.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use ahash::AHashMap;

/// Two adjacent tokens, by number.
type Pair = (u32, u32);

/// The result of learning.
#[derive(Debug, Default)]
pub struct Learned {
    /// The text of every token, by number: first the given ones, then the merged ones.
    pub tokens: Vec<String>,
    /// The pairs of texts that are merged, first merge first.
    pub merges: Vec<(String, String)>,
}

/// Words as sequences of tokens, stored one after another.
#[derive(Debug, Default)]
pub struct Words {
    symbols: Vec<u32>,
    words: Vec<Word>,
}

/// The range of a word's tokens, and the word's count.
#[derive(Clone, Copy, Debug)]
struct Word {
    start: usize,
    length: u32,
    count: u64,
}

impl Words {
    /// Adds a word of the tokens `symbols`, which occurs `count` times.
    pub fn add(&mut self, symbols: impl Iterator<Item = u32>, count: u64) {
        let start = self.symbols.len();
        self.symbols.extend(symbols);
        self.words.push(Word { start, length: (self.symbols.len() - start) as u32, count });
    }

    fn of(&self, number: u32) -> (&[u32], i64) {
        let Word { start, length, count } = self.words[number as usize];
        (&self.symbols[start..start + length as usize], count as i64)
    }

    /// Replaces each `pair` in a word by `joined`, and reports the change in count of every affected pair.
    fn merge(&mut self, number: u32, pair: Pair, joined: u32, mut change: impl FnMut(Pair, i64)) {
        let word = &mut self.words[number as usize];
        let count = word.count as i64;
        let symbols = &mut self.symbols[word.start..word.start + word.length as usize];
        let (mut read, mut write) = (0, 0);
        while read < symbols.len() {
            let found = read + 1 < symbols.len() && (symbols[read], symbols[read + 1]) == pair;
            symbols[write] = if found { joined } else { symbols[read] };
            if found {
                if write > 0 {
                    change((symbols[write - 1], pair.0), -count);
                    change((symbols[write - 1], joined), count);
                }
                if let Some(&next) = symbols.get(read + 2) {
                    change((pair.1, next), -count);
                    change((joined, next), count);
                }
            }
            read += 1 + usize::from(found);
            write += 1;
        }
        word.length = write as u32;
    }
}

/// A candidate pair for the next merge: the most frequent first, on ties the one with the lowest numbers.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    count: i64,
    pair: Pair,
    /// The words that may contain it, each once, in ascending order.
    words: Vec<u32>,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.count.cmp(&other.count).then_with(|| other.pair.cmp(&self.pair))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Merges until there are `vocab_size` tokens or no adjacent pairs left, starting with `tokens`, which the symbols
/// of `words` index. Calls `report` with the number of tokens.
pub fn learn(
    mut words: Words,
    tokens: Vec<String>,
    vocab_size: usize,
    mut report: impl FnMut(usize),
) -> Learned {
    let mut numbers: AHashMap<String, u32> =
        tokens.iter().enumerate().map(|(number, token)| (token.clone(), number as u32)).collect();
    let mut tokens = tokens;
    let mut counts: AHashMap<Pair, i64> = AHashMap::new();
    let mut places: AHashMap<Pair, Vec<u32>> = AHashMap::new();
    for number in 0..words.words.len() as u32 {
        let (symbols, count) = words.of(number);
        for two in symbols.windows(2) {
            let pair = (two[0], two[1]);
            *counts.entry(pair).or_default() += count;
            note(&mut places, pair, number);
        }
    }
    let mut queue = BinaryHeap::new();
    enqueue(&mut queue, &counts, &mut places);

    let mut merged: Vec<Pair> = Vec::new();
    while tokens.len() < vocab_size {
        let Some(mut top) = queue.pop() else { break };
        // Since the count was queued, occurrences may have been merged with other neighbours.
        if top.count != counts[&top.pair] {
            top.count = counts[&top.pair];
            queue.push(top);
            continue;
        }
        if top.count < 1 {
            break;
        }
        let text = format!("{}{}", tokens[top.pair.0 as usize], tokens[top.pair.1 as usize]);
        // Two pairs may give the same text, which is then one token.
        let joined = *numbers.entry(text).or_insert_with_key(|text| {
            tokens.push(text.clone());
            tokens.len() as u32 - 1
        });
        merged.push(top.pair);
        for &number in &top.words {
            words.merge(number, top.pair, joined, |pair, change| {
                *counts.entry(pair).or_default() += change;
                if change > 0 {
                    note(&mut places, pair, number);
                }
            });
        }
        enqueue(&mut queue, &counts, &mut places);
        report(tokens.len());
    }
    let merges = in_order(&merged).map(|(a, b)| (tokens[a as usize].clone(), tokens[b as usize].clone()));
    Learned { merges: merges.collect(), tokens }
}

/// Adds a word to those of a pair. All pairs of one word arrive together, so the last entry tells whether it is present.
fn note(places: &mut AHashMap<Pair, Vec<u32>>, pair: Pair, number: u32) {
    let words = places.entry(pair).or_default();
    if words.last() != Some(&number) {
        words.push(number);
    }
}

fn enqueue(
    queue: &mut BinaryHeap<Candidate>,
    counts: &AHashMap<Pair, i64>,
    places: &mut AHashMap<Pair, Vec<u32>>,
) {
    for (pair, words) in places.drain() {
        let count = counts[&pair];
        if count > 0 {
            queue.push(Candidate { count, pair, words });
        }
    }
}

/// The merges, each once. A pair that was merged again, because it reappeared in other words, counts from its last merge.
fn in_order(merged: &[Pair]) -> impl Iterator<Item = Pair> {
    let last: AHashMap<Pair, usize> = merged.iter().enumerate().map(|(place, &pair)| (pair, place)).collect();
    merged.iter().enumerate().filter(move |(place, pair)| last[pair] == *place).map(|(_, &pair)| pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use tokenizers::models::bpe::{BPE, BpeTrainer};

    /// The library's result for the same words.
    fn theirs(words: &[(String, u64)], alphabet: &[&str], vocab_size: usize) -> serde_json::Value {
        let trainer = BpeTrainer::builder()
            .vocab_size(vocab_size)
            .show_progress(false)
            .initial_alphabet(alphabet.iter().map(|letter| letter.chars().next().unwrap()).collect())
            .build();
        let counts = words.iter().map(|(word, count)| (word.as_str().into(), *count)).collect();
        let mut model = BPE::default();
        trainer.do_train(&counts, &mut model).unwrap();
        serde_json::to_value(model).unwrap()
    }

    fn ours(words: &[(String, u64)], alphabet: &[&str], vocab_size: usize) -> serde_json::Value {
        let mut own = Words::default();
        for (word, count) in words {
            let number = |c: char| alphabet.iter().position(|letter| letter.starts_with(c)).unwrap() as u32;
            own.add(word.chars().map(number), *count);
        }
        let tokens = alphabet.iter().map(|&letter| letter.to_owned()).collect();
        let learned = learn(own, tokens, vocab_size, |_| {});
        let vocab: AHashMap<String, u32> =
            learned.tokens.into_iter().enumerate().map(|(number, token)| (token, number as u32)).collect();
        let model = BPE::builder().vocab_and_merges(vocab, learned.merges).build().unwrap();
        serde_json::to_value(model).unwrap()
    }

    /// Cases are drawn from `NORMFREE_SEED`, default 1.
    fn cases() -> ProptestConfig {
        let seed = std::env::var("NORMFREE_SEED").map_or(1, |text| text.parse().expect("a whole number"));
        println!("seed: NORMFREE_SEED={seed}");
        ProptestConfig {
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn merges_are_those_of_the_library(
            words in proptest::collection::btree_map("[abcd]{1,14}", 1u64..30, 1..40),
            vocab_size in 4usize..120,
        ) {
            let words: Vec<(String, u64)> = words.into_iter().collect();
            let alphabet = ["a", "b", "c", "d"];
            prop_assert_eq!(ours(&words, &alphabet, vocab_size), theirs(&words, &alphabet, vocab_size));
        }
    }

    #[test]
    fn time_is_linear_in_the_length_of_a_word() {
        let steps = |length: usize| {
            let mut words = Words::default();
            // A number sequence without a period.
            let mut state = 1u32;
            words.add(
                (0..length).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state >> 30
                }),
                1,
            );
            let began = std::time::Instant::now();
            let tokens = ["a", "c", "g", "t"].map(str::to_owned).to_vec();
            let learned = learn(words, tokens, 100, |_| {});
            assert_eq!(learned.tokens.len(), 100);
            began.elapsed().as_secs_f64()
        };
        steps(1000);
        let (short, long) = (steps(100_000), steps(800_000));
        // Quadratic time would be sixty-four times as much.
        assert!(long < 30.0 * short + 0.5, "{short} s, then {long} s for eight times as much");
    }
}
