//! TFRecord: the frame around each record of an event file.
//!
//! Length (u64), its checksum, the record, the record's checksum, all little-endian. A checksum is the CRC-32C, rotated and
//! shifted, because a CRC over bytes that contain CRCs is of little use. Source: TensorFlow's record_writer.h.

use crc::{CRC_32_ISCSI, Crc, Table};

/// CRC-32C, sixteen bytes at a time: images take some kilobytes.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The constant added to the rotated CRC.
const SHIFT: u32 = 0xa282_ead8;

/// Appends `record` with its frame.
pub(super) fn put(out: &mut Vec<u8>, record: &[u8]) {
    let length = (record.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(check(&length).to_le_bytes());
    out.extend(record);
    out.extend(check(record).to_le_bytes());
}

fn check(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes).rotate_right(15).wrapping_add(SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of RFC 3720, appendix B.4: 32 bytes of zeros, of ones, and from 0 to 31.
    #[test]
    fn the_sum_is_crc32c() {
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(CRC32C.checksum(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(CRC32C.checksum(&std::array::from_fn::<u8, 32, _>(|i| i as u8)), 0x46dd_794e);
    }

    #[test]
    fn a_frame_is_sixteen_bytes_more() {
        let mut out = vec![7];
        put(&mut out, b"record");
        assert_eq!(out.len(), 1 + 16 + 6);
        assert_eq!(out[1..9], [6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&out[13..19], b"record");
    }
}
