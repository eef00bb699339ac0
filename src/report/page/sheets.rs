//! Figures on the page: each on a sheet of white paper, with buttons that save its file.

use super::html::{escape, svg_address};
use crate::draw::picture::Picture;
use crate::report::figures::Figure;

/// One figure as it is printed, in a form of its own for narrow pages if it has one, with buttons that save its file.
pub fn figure(figure: &Figure) -> String {
    let (stem, caption) = (figure.stem, escape(&figure.caption));
    let narrow = figure.narrow.as_ref().filter(|narrow| narrow.width < figure.picture.width);
    let class = if narrow.is_some() { " on-wide" } else { "" };
    let narrow =
        narrow.map_or(String::new(), |narrow| sheet(&format!("{stem}, narrow"), narrow, " on-narrow"));
    format!(
        "<figure id=\"figure-{stem}\">{}{narrow}<figcaption>{caption} {}</figcaption></figure>\n",
        sheet(stem, &figure.picture, class),
        buttons(stem)
    )
}

/// The figure before all text.
pub fn lead(of: &Figure) -> String {
    format!("<section id=\"lead\" aria-label=\"{}\">{}</section>", of.stem, figure(of))
}

/// A picture on white paper.
pub fn sheet(name: &str, picture: &Picture, class: &str) -> String {
    let (width, height) = (picture.width, picture.height);
    // Below this width the smallest text is unreadable, so the figure scrolls instead.
    let least = (width * 0.8).ceil();
    format!(
        "<div class=\"sheet{class}\" tabindex=\"0\" role=\"region\" aria-label=\"{name}, scrolls\"><img loading=\"lazy\" \
         style=\"min-width:{least}px\" width=\"{width}\" height=\"{height}\" alt=\"{}\" src=\"{}\"></div>",
        escape(&picture.title),
        escape(&svg_address(&picture.svg())),
    )
}

pub fn buttons(stem: &str) -> String {
    ["svg", "png"]
        .map(|kind| {
            format!(
                "<button type=\"button\" data-figure=\"{stem}\" data-kind=\"{kind}\">Save {stem}.{kind}</button>\n"
            )
        })
        .concat()
}
