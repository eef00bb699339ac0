//! Detects text that is not UTF-8 from its first bytes.

/// The mark that a UTF-8 text may begin with; it is not part of the text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The number of bytes examined.
pub const LOOK: usize = 4096;

/// Names the encoding of a file that begins with `block`, if it is UTF-16 or UTF-32.
pub fn foreign(block: &[u8]) -> Option<&'static str> {
    match block {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ => looks_like_utf16(&block[..block.len().min(LOOK)]).then_some("UTF-16"),
    }
}

/// Whether nearly every second byte is zero, and no other: UTF-16 of a European language, without a byte order mark.
fn looks_like_utf16(block: &[u8]) -> bool {
    let mut zeros = [0; 2];
    for (place, byte) in block.iter().enumerate() {
        zeros[place % 2] += usize::from(*byte == 0);
    }
    let pairs = block.len() / 2;
    pairs >= 8 && zeros.iter().min() == Some(&0) && zeros.iter().any(|&count| count * 10 >= pairs * 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn encodings_are_named() {
        for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(foreign(&utf16("\u{feff}中文", to_bytes)), Some("UTF-16"));
            assert_eq!(foreign(&utf16("no mark at all, but Zürich\n", to_bytes)), Some("UTF-16"));
        }
        assert_eq!(foreign(b"\xff\xfe\0\0a\0\0\0"), Some("UTF-32"));
        for other in [&b""[..], b"text", b"\xef\xbb\xbftext", &[0; 64], b"a\0b", &[7, 1, 0, 3].repeat(9)] {
            assert_eq!(foreign(other), None, "{other:?}");
        }
    }
}
