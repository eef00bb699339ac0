//! Random damage to bytes, and to numbers and words in text.

use proptest::prelude::*;
use proptest::sample::Index;

/// One change. Positions are shares of the input's length at that time.
#[derive(Clone, Debug)]
pub enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    Delete(Index, usize),
    Truncate(Index),
    Insert(Index, Vec<u8>),
    /// Repeats a section this many times.
    Repeat(Index, usize, usize),
    /// Replaces a number of the text by another.
    Number(Index, &'static str),
    /// Replaces a quoted string of the text by something else.
    Quoted(Index, &'static str),
    /// Swaps two lines.
    Lines(Index, Index),
}

/// Numbers at the limits of every type, and other things in place of numbers.
const NUMBERS: [&str; 24] = [
    "0",
    "-0.0",
    "-1",
    "1",
    "2",
    "255",
    "65536",
    "4294967295",
    "4294967296",
    "9007199254740992",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e-320",
    "1e-38",
    "1e38",
    "1e39",
    "12000.0",
    "1e308",
    "1e999",
    "null",
    "\"nan\"",
    "\"inf\"",
    "[]",
];

const WORDS: [&str; 14] = [
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\u{feff}\"",
    "\"../../x\"",
    "null",
    "true",
    "{}",
    "[]",
    "0",
    "\"step\"",
    "\"BPE\"",
    "\"<|endoftext|>\"",
    "\"gpt_neox\"",
];

pub fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let index = any::<Index>;
    let edit = prop_oneof![
        2 => (index(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        1 => (index(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        2 => (index(), 1..64_usize).prop_map(|(at, count)| Edit::Delete(at, count)),
        1 => index().prop_map(Edit::Truncate),
        1 => (index(), prop::collection::vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => (index(), 1..200_usize, 1..20_usize).prop_map(|(at, count, times)| Edit::Repeat(at, count, times)),
        6 => (index(), prop::sample::select(&NUMBERS[..])).prop_map(|(which, to)| Edit::Number(which, to)),
        3 => (index(), prop::sample::select(&WORDS[..])).prop_map(|(which, to)| Edit::Quoted(which, to)),
        1 => (index(), index()).prop_map(|(one, other)| Edit::Lines(one, other)),
    ];
    prop::collection::vec(edit, 1..6)
}

/// `input` with all edits, one after the other.
pub fn apply(input: &[u8], edits: &[Edit]) -> Vec<u8> {
    edits.iter().fold(input.to_vec(), |bytes, edit| edit.apply(bytes))
}

impl Edit {
    fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.is_empty() {
            return bytes;
        }
        let length = bytes.len();
        match self {
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Set(at, byte) => bytes[at.index(length)] = *byte,
            Self::Delete(at, count) => {
                let from = at.index(length);
                bytes.drain(from..(from + count).min(length));
            }
            Self::Truncate(at) => bytes.truncate(at.index(length)),
            Self::Insert(at, new) => {
                let at = at.index(length);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Repeat(at, count, times) => {
                let from = at.index(length);
                let to = (from + count).min(length);
                let again = bytes[from..to].repeat(*times);
                bytes.splice(to..to, again);
            }
            Self::Number(which, to) => replace(&mut bytes, which, to, numbers),
            Self::Quoted(which, to) => replace(&mut bytes, which, to, quoted),
            Self::Lines(one, other) => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
                let count = lines.len();
                lines.swap(one.index(count), other.index(count));
                bytes = lines.concat();
            }
        }
        bytes
    }
}

fn replace(bytes: &mut Vec<u8>, which: &Index, to: &str, find: fn(&[u8]) -> Vec<(usize, usize)>) {
    let places = find(bytes);
    if !places.is_empty() {
        let (from, until) = places[which.index(places.len())];
        bytes.splice(from..until, to.bytes());
    }
}

/// Where numbers are.
fn numbers(bytes: &[u8]) -> Vec<(usize, usize)> {
    stretches(bytes, |byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        .into_iter()
        .filter(|&(from, to)| bytes[from..to].iter().any(u8::is_ascii_digit))
        .collect()
}

/// Where quoted strings are, quotes included.
fn quoted(bytes: &[u8]) -> Vec<(usize, usize)> {
    let quotes: Vec<usize> =
        bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'"').map(|(at, _)| at).collect();
    quotes.chunks_exact(2).map(|pair| (pair[0], pair[1] + 1)).collect()
}

fn stretches(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = None;
    for (at, &byte) in bytes.iter().chain(b" ").enumerate() {
        match (belongs(byte) && at < bytes.len(), from) {
            (true, None) => from = Some(at),
            (false, Some(start)) => {
                found.push((start, at));
                from = None;
            }
            _ => {}
        }
    }
    found
}
