//! What differs between the frames of an animation.

use image::RgbImage;

/// The smallest box that contains every difference between two images: left, top, right, bottom; a single pixel for equal
/// images.
pub fn changed(one: &RgbImage, other: &RgbImage) -> (u32, u32, u32, u32) {
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for ((x, y, a), b) in one.enumerate_pixels().zip(other.pixels()) {
        if a != b {
            (left, top) = (left.min(x), top.min(y));
            (right, bottom) = (right.max(x + 1), bottom.max(y + 1));
        }
    }
    if right == 0 { (0, 0, 1, 1) } else { (left, top, right, bottom) }
}
