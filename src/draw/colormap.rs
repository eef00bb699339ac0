//! Colours that stay distinguishable for every kind of colour vision, and in grey.

/// Red, green, blue in sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// From 0xRRGGBB.
    pub const fn hex(code: u32) -> Self {
        Self((code >> 16) as u8, (code >> 8) as u8, code as u8)
    }

    /// Relative luminance, 0 to 1, as WCAG 2 defines it.
    pub fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// This colour mixed with a `part` (0 to 1) of the other.
    pub fn mix(self, other: Self, part: f64) -> Self {
        let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }

    /// Black or white, whichever is read more easily on this colour.
    pub fn ink(self) -> Self {
        // Contrast is (lighter + 0.05) / (darker + 0.05); black and white are equal at √(1.05 · 0.05) − 0.05.
        if self.luminance() > 0.179 { BLACK } else { WHITE }
    }
}

pub const BLACK: Rgb = Rgb(0, 0, 0);
pub const WHITE: Rgb = Rgb(255, 255, 255);
/// The grey for anything without a finite value.
pub const ABSENT: Rgb = Rgb::hex(0xd4d4d4);

/// The palette of Okabe and Ito (2008), darkest contrasts first, without its yellow, which is lost on white.
pub const OKABE_ITO: [Rgb; 7] = [
    Rgb::hex(0x0072b2),
    Rgb::hex(0xd55e00),
    Rgb::hex(0x009e73),
    Rgb::hex(0xcc79a7),
    Rgb::hex(0x56b4e9),
    Rgb::hex(0xe69f00),
    Rgb::hex(0x000000),
];

/// A sequential, perceptually even colour map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colormap {
    /// By van der Walt, Smith and Firing; released as CC0.
    #[default]
    Viridis,
    /// By Nuñez, Anderton and Renslow (2018), made for colour-vision deficiency.
    Cividis,
}

impl Colormap {
    /// The colour at `t`, clamped to 0 … 1.
    pub fn at(self, t: f64) -> Rgb {
        let anchors = match self {
            Self::Viridis => &VIRIDIS,
            Self::Cividis => &CIVIDIS,
        };
        between(anchors, t)
    }
}

/// The colour at `t`, clamped to 0 … 1, of a scale that these colours divide evenly.
fn between(anchors: &[u32], t: f64) -> Rgb {
    let position = t.clamp(0.0, 1.0) * (anchors.len() - 1) as f64;
    let below = (position as usize).min(anchors.len() - 2);
    let part = position - below as f64;
    Rgb::hex(anchors[below]).mix(Rgb::hex(anchors[below + 1]), part)
}

/// The scale of attention weights on white: one hue, from almost white to almost black.
pub const WEIGHTS: [u32; 7] = [0xedf2f8, 0xc9dcef, 0x94c1e3, 0x559bcf, 0x2470b3, 0x104684, 0x081f47];
/// The same on a dark page, from almost black to almost white.
pub const WEIGHTS_ON_DARK: [u32; 7] = [0x1e242d, 0x1c3a5c, 0x1f5b95, 0x2f81c7, 0x66abe4, 0xabd4f5, 0xf3f9ff];

/// The colour on white of an attention weight: by its cube root, which keeps the small weights of long rows apart.
pub fn weight(weight: f64) -> Rgb {
    between(&WEIGHTS, weight.cbrt())
}

/// The colour of a signed `t`, clamped to −1 … 1: blue below zero, white at zero, vermilion above. Both are from Okabe and
/// Ito's palette and can be told apart with every kind of colour vision. In grey the two sides look alike, so give the sign
/// in text as well.
pub fn diverging(t: f64) -> Rgb {
    WHITE.mix(if t < 0.0 { OKABE_ITO[0] } else { OKABE_ITO[1] }, t.abs().min(1.0))
}

/// The colour of a layer at `t`, clamped to 0 … 1 from the first layer to the last: from violet to orange, ever lighter. Each
/// has a contrast of at least 3 with white, with black, and with the report page's dark paper, so that a line can be seen.
pub fn layers(t: f64) -> Rgb {
    between(&LAYERS, t)
}

// Made for this program: in OKLCH the hue runs from 285° to 65°, at even steps of luminance from 0.127 to 0.285, each with the
// largest chroma that sRGB has there.
const LAYERS: [u32; 9] =
    [0x6741ec, 0x913ae4, 0xb532d0, 0xd329b2, 0xea228e, 0xfa2463, 0xff3c29, 0xe66704, 0xd17e08];

// Every fifth of the 256 published colours, 0 and 255 included. Interpolated, viridis is right within 1/255 a
// channel and cividis within 4/255.
const VIRIDIS: [u32; 52] = [
    0x440154, 0x46085c, 0x471063, 0x481769, 0x481d6f, 0x482475, 0x472a7a, 0x46307e, 0x453781, 0x433d84,
    0x414287, 0x3f4889, 0x3d4e8a, 0x3a538b, 0x38598c, 0x355e8d, 0x33638d, 0x31688e, 0x2e6d8e, 0x2c718e,
    0x2a768e, 0x297b8e, 0x27808e, 0x25848e, 0x23898e, 0x218e8d, 0x20928c, 0x1f978b, 0x1e9c89, 0x1fa188,
    0x21a585, 0x24aa83, 0x28ae80, 0x2eb37c, 0x35b779, 0x3dbc74, 0x46c06f, 0x50c46a, 0x5ac864, 0x65cb5e,
    0x70cf57, 0x7cd250, 0x89d548, 0x95d840, 0xa2da37, 0xb0dd2f, 0xbddf26, 0xcae11f, 0xd8e219, 0xe5e419,
    0xf1e51d, 0xfde725,
];
const CIVIDIS: [u32; 52] = [
    0x00224e, 0x002656, 0x002a5f, 0x002d68, 0x003070, 0x083370, 0x163770, 0x203a6f, 0x273e6e, 0x2e416d,
    0x34456c, 0x3a486c, 0x3f4c6c, 0x444f6c, 0x49536c, 0x4e566c, 0x535a6d, 0x575d6d, 0x5c616e, 0x60646f,
    0x656870, 0x696b71, 0x6d6f72, 0x727274, 0x767676, 0x7a7a78, 0x7e7d78, 0x838179, 0x888578, 0x8d8878,
    0x928c78, 0x969077, 0x9b9476, 0xa09875, 0xa59c74, 0xaaa073, 0xafa471, 0xb5a86f, 0xbaac6d, 0xbfb06b,
    0xc4b468, 0xc9b965, 0xcfbd62, 0xd4c15f, 0xdac65b, 0xdfca57, 0xe5cf52, 0xead34c, 0xf0d846, 0xf6dd3f,
    0xfce236, 0xfee838,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_can_be_seen_on_white_and_on_dark() {
        let contrast = |one: f64, other: f64| (one.max(other) + 0.05) / (one.min(other) + 0.05);
        let dark = Rgb::hex(0x141417).luminance();
        let mut before = 0.0;
        for step in 0..=200 {
            let own = layers(f64::from(step) / 200.0).luminance();
            for paper in [WHITE.luminance(), BLACK.luminance(), dark] {
                assert!(contrast(own, paper) >= 3.0, "step {step}: {own} on {paper}");
            }
            assert!(own > before - 0.003, "step {step} is darker than the one before");
            before = own;
        }
    }
}
