//! The page of patterns: one file that shows all heads, and one of them token by token. It needs no network.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::kept::{Kept, Patterns};
use crate::draw::colormap::{WEIGHTS, WEIGHTS_ON_DARK};
use crate::draw::html::{self, escape, fill};

const TEMPLATE: &str = include_str!("page.html");
/// The looks of the view of patterns; colours are those of the page around it.
pub const STYLE: &str = include_str!("patterns.css");
/// The script that shows patterns: `showPatterns(place, data)` fills an element with the view of what [`data`] returns.
pub const SCRIPT: &str = include_str!("patterns.js");
/// The colours and the text of a page that has nothing else.
const ALONE: &str = include_str!("page.css");

/// The whole page.
pub fn page(patterns: &Patterns) -> String {
    let data = html::json(&data(patterns));
    let notes = patterns.notes.iter().map(|note| format!("<p class=\"note\">{}</p>\n", escape(note)));
    let parts = [
        ("title", escape(&patterns.title)),
        ("nonce", html::nonce(&data)),
        ("style", ALONE.to_owned() + STYLE),
        ("notes", notes.collect()),
        ("table", table(patterns)),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("data", data),
        ("script", SCRIPT.to_owned()),
    ];
    fill(TEMPLATE, &parts)
}

/// What the script reads: tokens, colours, and each head's weights as the base64 of their bytes.
pub fn data(patterns: &Patterns) -> Value {
    let colours = |scale: &[u32]| -> Vec<String> { scale.iter().map(|c| format!("#{c:06x}")).collect() };
    let of = |part: fn(&Kept) -> Value| -> Vec<Value> { patterns.kept.iter().map(part).collect() };
    let sinks = patterns.kept.iter().any(|head| !head.sinks.is_empty());
    json!({
        "tokens": patterns.tokens,
        "layers": patterns.layers(),
        "heads": patterns.heads,
        "colours": { "light": colours(&WEIGHTS), "dark": colours(&WEIGHTS_ON_DARK) },
        "means": of(|head| rounded(head.mean)),
        "entropies": of(|head| head.entropies.iter().copied().map(rounded).collect()),
        "weights": of(|head| json!(BASE64.encode(&head.weights))),
        "sinks": sinks.then(|| of(|head| json!(BASE64.encode(&head.sinks)))),
    })
}

/// Nats with five decimals, or null.
fn rounded(nats: f64) -> Value {
    if nats.is_finite() { json!((nats * 1e5).round() / 1e5) } else { Value::Null }
}

/// The mean entropies as text, for readers without scripts.
fn table(patterns: &Patterns) -> String {
    let cell = |nats: &f64| {
        format!("<td>{}</td>", if nats.is_finite() { format!("{nats:.2}") } else { "NaN".into() })
    };
    let row = |(layer, means): (usize, &Vec<f64>)| {
        format!("<tr><th scope=\"row\">{layer}</th>{}</tr>\n", means.iter().map(cell).collect::<String>())
    };
    let header: String = (0..patterns.heads).map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let rows: String = patterns.means().iter().enumerate().map(row).collect();
    format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Mean entropies, scrolls sideways\"><table>\n\
         <thead><tr><th scope=\"col\">Layer, head</th>{header}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_what_its_text_says_and_no_more() {
        let kept = Kept {
            weights: vec![255, 0, 255],
            sinks: vec![],
            entropies: vec![0.0, f64::NAN],
            mean: f64::NAN,
        };
        let patterns = Patterns {
            title: "<b>&".into(),
            notes: vec![],
            tokens: vec!["</script>".into(), "\u{202e}".into()],
            heads: 1,
            kept: vec![kept],
        };
        let page = page(&patterns);
        assert!(page.contains("&lt;b&gt;&amp;") && !page.contains("<b>&"), "{page}");
        assert!(!page.contains("</script>\",") && !page.contains('\u{202e}') && !page.contains("{{"));
        assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
        let data = data(&patterns);
        assert_eq!(data["weights"][0], "/wD/");
        assert_eq!((&data["entropies"][0], &data["sinks"]), (&json!([0.0, null]), &Value::Null));
        assert!(!page.contains("http://") && !page.contains("https://"), "a page needs no network");
    }
}
