//! What the colours of cells mean, and the bar that says it.

use crate::draw::axes::{INK, nice_ticks, tick_text};
use crate::draw::colormap::{Colormap, Rgb, WHITE, diverging};
use crate::draw::picture::{Anchor, Picture, Text};
use crate::draw::text;

const LABEL: f64 = 14.0;
const TICK: f64 = 12.0;
/// The bar's own width.
const BAR: f64 = 18.0;
/// The narrowest cell of a picture for print that has room for an entropy, and for a difference with its sign, in the size of
/// ticks.
pub(super) const PRINTED: (f64, f64) = (28.0, 38.0);

/// An entropy rounded to hundredths of a nat, as every drawing shows it. Differences are computed from these rounded
/// values, so a head has the same number in every drawing. Never −0.
pub(super) fn rounded(entropy: f64) -> f64 {
    (entropy * 100.0).round() / 100.0 + 0.0
}

/// What the cells' colours and numbers mean.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shade {
    /// Entropies from 0 to `top`; `numbers` in the cells, or colours alone. A head is overloaded from `overload` on, which the
    /// bar shows.
    Entropy { top: f64, colormap: Colormap, numbers: bool, overload: Option<f64> },
    /// Differences of entropies from −`reach` to `reach`; `numbers` as above.
    Difference { reach: f64, numbers: bool },
}

impl Shade {
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::Entropy { top, .. } => (0.0, top),
            Self::Difference { reach, .. } => (-reach, reach),
        }
    }

    pub fn colour(self, value: f64) -> Rgb {
        match self {
            Self::Entropy { top, colormap, .. } => colormap.at(value / top),
            Self::Difference { reach, .. } => diverging(value / reach),
        }
    }

    /// Two decimals; for differences also the sign, which colour does not show in grey.
    pub fn number(self, value: f64) -> String {
        let value = rounded(value);
        let text = if value.abs() < 1e4 { format!("{value:.2}") } else { format!("{value:.0e}") };
        match self {
            Self::Difference { .. } if value > 0.0 => format!("+{text}"),
            _ => text.replace('-', "−"),
        }
    }

    /// The narrowest cell for print with a number.
    pub fn least(self) -> f64 {
        match self {
            Self::Entropy { .. } => PRINTED.0,
            Self::Difference { .. } => PRINTED.1,
        }
    }

    /// The same without numbers in the cells.
    pub fn bare(self) -> Self {
        match self {
            Self::Entropy { top, colormap, overload, .. } => {
                Self::Entropy { top, colormap, overload, numbers: false }
            }
            Self::Difference { reach, .. } => Self::Difference { reach, numbers: false },
        }
    }

    pub fn has_numbers(self) -> bool {
        match self {
            Self::Entropy { numbers, .. } | Self::Difference { numbers, .. } => numbers,
        }
    }

    /// From where on a head is overloaded, if that is on the bar.
    fn mark(self) -> Option<f64> {
        let (low, high) = self.range();
        match self {
            Self::Entropy { overload, .. } => overload.filter(|&mark| low < mark && mark < high),
            Self::Difference { .. } => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Entropy { .. } => "Mean entropy (nats)",
            Self::Difference { .. } => "Difference (nats)",
        }
    }
}

/// A vertical bar of the colours, low end below, labelled in nats.
pub(super) fn colour_bar(picture: &mut Picture, (x, y): (f64, f64), height: f64, shade: Shade) {
    let (low, high) = shade.range();
    // Each stripe reaches down to the foot, so that no seam shows between neighbours.
    let stripes = 256;
    for stripe in 0..stripes {
        let from = height * f64::from(stripe) / f64::from(stripes);
        let value = high - (high - low) * (f64::from(stripe) + 0.5) / f64::from(stripes);
        picture.rect(x, y + from, BAR, height - from, shade.colour(value));
    }
    // The end of the scale is M or its substitute, so it is always labelled.
    let end = Text::new(x + BAR + 8.0, y, TICK, shade.number(high));
    picture.text(end.anchor(Anchor::Start).color(INK));
    let (ticks, step) = nice_ticks(low, high, (height / 45.0) as usize);
    let place = |value: f64| y + height * (high - value) / (high - low);
    let mark = shade.mark();
    let free = |tick: f64| mark.is_none_or(|mark| (place(tick) - place(mark)).abs() > TICK * 1.2);
    for tick in ticks.into_iter().filter(|&tick| place(tick) - y > TICK * 1.2 && free(tick)) {
        let at = place(tick);
        picture.line(vec![(x + BAR, at), (x + BAR + 4.0, at)], 1.0, INK);
        let label = Text::new(x + BAR + 8.0, at, TICK, tick_text(tick, step));
        picture.text(label.anchor(Anchor::Start).color(INK));
    }
    if let Some(mark) = mark {
        let at = place(mark);
        picture.line(vec![(x - 3.0, at), (x + BAR + 6.0, at)], 2.4, WHITE);
        picture.line(vec![(x - 3.0, at), (x + BAR + 6.0, at)], 1.4, INK);
        let label = Text::new(x + BAR + 8.0, at, TICK, "3M/4").bold();
        picture.text(label.anchor(Anchor::Start).color(INK));
    }
    // A browser's own font may be wider than the one measured here.
    let label = Text::new(x + BAR + 56.0, y + height / 2.0, LABEL, shade.label());
    picture.text(label.turned().color(INK));
}

/// The same from left to right, for a column of text that has no room beside the panels.
pub(super) fn bar_across(picture: &mut Picture, (x, y): (f64, f64), width: f64, shade: Shade) {
    let (low, high) = shade.range();
    let (stripes, thick) = (256, 12.0);
    // Each stripe reaches to the end, so that no seam shows between neighbours.
    for stripe in 0..stripes {
        let from = width * f64::from(stripe) / f64::from(stripes);
        let value = low + (high - low) * (f64::from(stripe) + 0.5) / f64::from(stripes);
        picture.rect(x + from, y, width - from, thick, shade.colour(value));
    }
    let below = y + thick + 13.0;
    let place = |value: f64| x + width * (value - low) / (high - low);
    let end = shade.number(high);
    let first = place(high) - text::width(&end, TICK) * text::SLACK;
    picture.text(Text::new(x + width, below, TICK, end).anchor(Anchor::End).color(INK));
    let (ticks, step) = nice_ticks(low, high, (width / 60.0) as usize);
    let mark = shade.mark();
    let half = |text: &str| text::width(text, TICK) * text::SLACK / 2.0 + 3.0;
    let free = |tick: f64, text: &str| {
        let clear = mark.is_none_or(|mark| (place(tick) - place(mark)).abs() > half(text) + half("3M/4"));
        clear && place(tick) + half(text) < first
    };
    for tick in ticks {
        let text = tick_text(tick, step);
        if free(tick, &text) {
            picture.line(vec![(place(tick), y + thick), (place(tick), y + thick + 4.0)], 1.0, INK);
            picture.text(Text::new(place(tick), below, TICK, text).color(INK));
        }
    }
    if let Some(mark) = mark {
        let at = place(mark);
        picture.line(vec![(at, y - 3.0), (at, y + thick + 5.0)], 2.4, WHITE);
        picture.line(vec![(at, y - 3.0), (at, y + thick + 5.0)], 1.4, INK);
        if place(mark) + half("3M/4") < first {
            picture.text(Text::new(at, below, TICK, "3M/4").bold().color(INK));
        }
    }
    picture.text(Text::new(x + width / 2.0, below + 19.0, LABEL, shade.label()).color(INK));
}
