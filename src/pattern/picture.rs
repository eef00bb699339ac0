//! The picture of all patterns: layers down, heads across, a triangle for each head.

use super::kept::{self, Kept, Patterns};
use crate::draw::axes::{INK, QUIET};
use crate::draw::colormap::{ABSENT, Rgb, WHITE, weight};
use crate::draw::picture::{Anchor, Image, Mark, Picture, Text};
use crate::draw::text;
use crate::numbers::counted;

/// The area that patterns fill if their size allows it, and the smallest and the largest of them.
const AREA: f64 = 1060.0;
const CELL: (f64, f64) = (64.0, 190.0);
/// Space between patterns.
const GAP: f64 = 7.0;
const MARGIN: f64 = 18.0;
/// Space for the numbers of layers, and below for those of heads.
const LEFT: f64 = 46.0;
const BELOW: f64 = 44.0;
const TITLE: f64 = 18.0;
const NOTE: f64 = 12.5;
const LABEL: f64 = 14.0;
const TICK: f64 = 12.0;
const LINE: f64 = 18.0;
/// The height of the scale, and its length.
const BAR: (f64, f64) = (12.0, 220.0);
/// No pattern has more entries a side; longer texts are drawn by the largest weight of each square.
const MOST: usize = 320;

/// The picture of all heads. The upper corner of a pattern, which a causal head leaves empty, has its mean entropy in nats.
pub fn picture(patterns: &Patterns) -> Picture {
    let (layers, heads) = (patterns.layers(), patterns.heads);
    let cell = (AREA / heads as f64 - GAP).clamp(CELL.0, CELL.1).floor();
    let pitch = cell + GAP;
    let notes = notes(patterns);
    let widest = notes.iter().map(|note| text::width(note, NOTE));
    let widest = widest.fold(text::width(&patterns.title, TITLE), f64::max) * text::SLACK;
    let above = MARGIN + 30.0 + LINE * notes.len() as f64;
    let matrix = (heads as f64 * pitch - GAP, layers as f64 * pitch - GAP);
    let width = (2.0 * MARGIN + LEFT + matrix.0).max(2.0 * MARGIN + widest).max(2.0 * MARGIN + BAR.1 + 90.0);
    let height = above + matrix.1 + BELOW + 56.0;
    let mut picture =
        Picture::new(width, height, format!("Attention patterns of every head: {}", patterns.title));
    let start = |y, size, what: &str| Text::new(MARGIN, y, size, what).anchor(Anchor::Start);
    picture.text(start(MARGIN + 8.0, TITLE, &patterns.title).bold().color(INK));
    for (index, note) in notes.iter().enumerate() {
        picture.text(start(MARGIN + 32.0 + LINE * index as f64, NOTE, note).color(QUIET));
    }
    let (x, y) = (MARGIN + LEFT, above);
    for (index, head) in patterns.kept.iter().enumerate() {
        let (layer, head_in_layer) = (index / heads, index % heads);
        let corner = (x + head_in_layer as f64 * pitch, y + layer as f64 * pitch);
        draw(&mut picture, corner, cell, head, patterns.tokens.len());
    }
    for layer in 0..layers {
        let middle = y + layer as f64 * pitch + cell / 2.0;
        picture.text(Text::new(x - 8.0, middle, TICK, layer.to_string()).anchor(Anchor::End).color(INK));
    }
    for head in 0..heads {
        let middle = x + head as f64 * pitch + cell / 2.0;
        picture.text(Text::new(middle, y + matrix.1 + 13.0, TICK, head.to_string()).color(INK));
    }
    picture.text(Text::new(x - 36.0, y + matrix.1 / 2.0, LABEL, "Layer").turned().color(INK));
    picture.text(Text::new(x + matrix.0 / 2.0, y + matrix.1 + 33.0, LABEL, "Head").color(INK));
    scale(&mut picture, (x, y + matrix.1 + BELOW + 12.0));
    picture
}

fn notes(patterns: &Patterns) -> Vec<String> {
    let tokens = patterns.tokens.len();
    let mut notes = patterns.notes.clone();
    notes.push(format!(
        "{}: queries from top to bottom, keys from left to right. The number is the mean entropy in nats.",
        counted(tokens as u64, "token")
    ));
    if tokens > MOST {
        notes.push("Each point is the largest weight of a square of tokens.".to_owned());
    }
    notes
}

/// One head's triangle and its entropy.
fn draw(picture: &mut Picture, (x, y): (f64, f64), cell: f64, head: &Kept, tokens: usize) {
    let side = tokens.min(MOST);
    picture.marks.push(Mark::Image(Image {
        x,
        y,
        width: cell,
        height: cell,
        columns: side,
        pixels: pixels(head, tokens, side),
    }));
    // Zero may have a sign.
    let nats = if head.mean.is_finite() { format!("{:.2}", head.mean.max(0.0)) } else { "NaN".to_owned() };
    let size = (cell * 0.17).clamp(10.5, 15.0);
    picture.text(Text::new(x + cell - 1.0, y + size * 0.55, size, nats).anchor(Anchor::End).color(INK));
}

/// The square of colours, `[side, side]`; white where no key is seen, grey in rows that are not finite.
fn pixels(head: &Kept, tokens: usize, side: usize) -> Vec<Rgb> {
    let mut largest = vec![None; side * side];
    let mut broken = vec![false; side];
    for query in 0..tokens {
        let row = query * side / tokens;
        broken[row] |= !head.entropies[query].is_finite();
        for (key, &byte) in head.weights[query * (query + 1) / 2..][..=query].iter().enumerate() {
            let entry = &mut largest[row * side + key * side / tokens];
            *entry = Some(entry.map_or(byte, |other: u8| other.max(byte)));
        }
    }
    let colour = |(index, entry): (usize, Option<u8>)| match entry {
        None => WHITE,
        Some(_) if broken[index / side] => ABSENT,
        Some(byte) => weight(kept::weight(byte)),
    };
    largest.into_iter().enumerate().map(colour).collect()
}

/// The colours of weights, from zero to one.
fn scale(picture: &mut Picture, (x, y): (f64, f64)) {
    let columns = 256;
    let pixels = (0..columns).map(|i| weight((i as f64 / (columns - 1) as f64).powi(3))).collect();
    let (height, width) = BAR;
    picture.marks.push(Mark::Image(Image { x, y, width, height, columns, pixels }));
    for tick in [0.0, 0.01, 0.1, 0.3, 1.0_f64] {
        let at = x + width * tick.cbrt();
        picture.line(vec![(at, y + height), (at, y + height + 4.0)], 1.0, INK);
        picture.text(Text::new(at, y + height + 12.0, TICK, tick.to_string()).color(INK));
    }
    let label = Text::new(x + width + 14.0, y + height / 2.0, TICK, "Weight");
    picture.text(label.anchor(Anchor::Start).color(INK));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(tokens: usize) -> Kept {
        let weights = (0..tokens * (tokens + 1) / 2).map(|index| (index % 256) as u8).collect();
        Kept { weights, sinks: Vec::new(), entropies: vec![0.5; tokens], mean: 0.5 }
    }

    #[test]
    fn long_texts_keep_their_largest_weights() {
        let mut long = head(2 * MOST);
        long.weights.fill(0);
        // The last query's weight on key 100.
        let last = 2 * MOST - 1;
        long.weights[last * (last + 1) / 2 + 100] = 255;
        let pixels = pixels(&long, 2 * MOST, MOST);
        assert_eq!(pixels[(MOST - 1) * MOST + 50], weight(1.0));
        assert_eq!((pixels[0], pixels[MOST - 1]), (weight(0.0), WHITE));
    }

    #[test]
    fn a_picture_has_every_head() {
        let patterns = Patterns {
            title: "SM+R".into(),
            notes: vec![],
            tokens: vec!["a".into(); 5],
            heads: 3,
            kept: vec![head(5); 6],
        };
        let picture = picture(&patterns);
        let images = picture.marks.iter().filter(|mark| matches!(mark, Mark::Image(_))).count();
        assert_eq!(images, 6 + 1);
        assert!(picture.svg().contains("data:image/png;base64,") && picture.png().is_ok());
    }
}
