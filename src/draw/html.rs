//! Text and data escaped for an HTML page, whatever names they contain, and the page made from its template.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::escape::xml;
use crate::visible::acts;

/// Escapes text for element content or a quoted attribute value: as in XML, but line ends are allowed.
pub fn escape(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(xml).collect();
    lines.join("\n").replace('\'', "&#39;")
}

/// JSON for a `<script>` element: nothing in it can end the element, begin a comment, or change the text direction.
pub fn json(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if matches!(c, '<' | '>' | '&') || acts(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// A data URL with a whole SVG.
pub fn svg_address(svg: &str) -> String {
    format!("data:image/svg+xml,{}", svg.replace('%', "%25").replace('#', "%23").replace('\n', "%0A"))
}

/// The number that a page's own scripts carry, so that no other may run. Nobody can know it in advance when naming a run.
pub fn nonce(data: &str) -> String {
    Sha256::digest(data.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The template with each `{{name}}` replaced. Inserted text is not expanded again.
///
/// # Panics
/// If the template asks for a part that is not there.
pub fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut out =
        String::with_capacity(template.len() + parts.iter().map(|part| part.1.len()).sum::<usize>());
    let mut pieces = template.split("{{");
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or((piece, ""));
        let part = parts.iter().find(|(of, _)| *of == name);
        out.push_str(&part.unwrap_or_else(|| panic!("the template asks for `{name}`")).1);
        out.push_str(rest);
    }
    out
}
