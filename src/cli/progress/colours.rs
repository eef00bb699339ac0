//! The colours of a terminal, and how entropies look in them.

use crate::draw::colormap::{Colormap, Rgb};
use ratatui::style::{Color, Style};

/// How many colours the terminal allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Any RGB colour.
    True,
    /// The 256 colours of xterm.
    Indexed,
    /// No colours: the user wants none, or the terminal has too few to tell entropies apart.
    None,
}

/// The style of text in a colour, as far as the terminal has any.
pub(super) fn in_colour(depth: Depth, rgb: Rgb) -> Style {
    depth.colour(rgb).map_or_else(Style::new, |colour| Style::new().fg(colour))
}

impl Depth {
    /// Reads `NO_COLOR`, `COLORTERM` and `TERM`.
    pub fn of_terminal() -> Self {
        let text = |name: &str| std::env::var(name).unwrap_or_default();
        Self::of(&text("NO_COLOR"), &text("COLORTERM"), &text("TERM"))
    }

    fn of(no_color: &str, color_term: &str, term: &str) -> Self {
        if !no_color.is_empty() {
            Self::None
        } else if matches!(color_term, "truecolor" | "24bit") || term.ends_with("-direct") || cfg!(windows) {
            Self::True
        } else if term.contains("256color") {
            Self::Indexed
        } else {
            Self::None
        }
    }

    /// The available colour nearest to `rgb`.
    pub fn colour(self, rgb: Rgb) -> Option<Color> {
        match self {
            Self::True => Some(Color::Rgb(rgb.0, rgb.1, rgb.2)),
            Self::Indexed => Some(Color::Indexed(nearest(rgb))),
            Self::None => None,
        }
    }

    /// The colour of an entropy on a scale up to `top` nats; grey if it is not finite.
    pub fn entropy(self, entropy: f32, top: f64) -> Option<Color> {
        self.colour(shade(entropy, top))
    }
}

/// The colour of an entropy, whatever the terminal can do.
pub(super) fn shade(entropy: f32, top: f64) -> Rgb {
    match entropy.is_finite() {
        true => Colormap::default().at(f64::from(entropy) / top),
        false => Rgb::hex(0xd4d4d4),
    }
}

/// An entropy as a digit, in tenths of `top`, for terminals without colours.
pub(super) fn digit(entropy: f32, top: f64) -> char {
    let tenth = f64::from(entropy) / top * 10.0;
    match entropy.is_finite() {
        true => char::from_digit(tenth.clamp(0.0, 9.0) as u32, 10).unwrap_or('9'),
        false => '!',
    }
}

/// The nearest of xterm's 6 × 6 × 6 colours and 24 greys.
fn nearest(Rgb(r, g, b): Rgb) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let apart = |a: [u8; 3]| -> u32 {
        a.into_iter().zip([r, g, b]).map(|(x, y)| u32::from(x.abs_diff(y)).pow(2)).sum()
    };
    let level = |of: u8| (0..6).min_by_key(|&i| LEVELS[i].abs_diff(of)).unwrap_or(0);
    let [i, j, k] = [r, g, b].map(level);
    let cube = (apart([LEVELS[i], LEVELS[j], LEVELS[k]]), 16 + 36 * i + 6 * j + k);
    let greys = (0..24_usize).map(|i| (apart([8 + 10 * i as u8; 3]), 232 + i));
    greys.fold(cube, |best, grey| if grey.0 < best.0 { grey } else { best }).1 as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_says_what_it_can() {
        assert_eq!(Depth::of("1", "truecolor", "xterm-256color"), Depth::None);
        assert_eq!(Depth::of("", "truecolor", "xterm"), Depth::True);
        assert_eq!(
            Depth::of("", "", "screen-256color"),
            if cfg!(windows) { Depth::True } else { Depth::Indexed }
        );
        assert_eq!(Depth::of("", "", "vt100"), if cfg!(windows) { Depth::True } else { Depth::None });
    }

    #[test]
    fn the_nearest_colour_is_taken() {
        assert_eq!(nearest(Rgb(0, 0, 0)), 16);
        assert_eq!(nearest(Rgb(255, 255, 255)), 231);
        assert_eq!(nearest(Rgb(95, 135, 175)), 16 + 36 + 12 + 3);
        assert_eq!(nearest(Rgb(0xd0, 0xd0, 0xd0)), 252);
    }

    #[test]
    fn digits_are_tenths() {
        assert_eq!(
            [0.0, 0.19, 1.99, 2.0, 2.5, f32::NAN].map(|e| digit(e, 2.0)),
            ['0', '0', '9', '9', '9', '!']
        );
    }
}
