//! The verdicts on claims as a part of the page.

use super::html::{escape, table};
use super::sheets::{buttons, sheet};
use crate::report::verdicts::Verdicts;

/// A section: each claim with its verdict, the picture of all differences, and their table.
pub fn verdicts(verdicts: &Verdicts) -> String {
    let claims: String = verdicts
        .claims
        .iter()
        .map(|claim| {
            format!(
                "<li>{} <span class=\"note\">({}; reported: {})</span><br>\n<span class=\"verdict\">{}</span>. {}</li>\n",
                escape(&claim.text),
                escape(&claim.source),
                escape(claim.reported.trim_end_matches('.')),
                escape(&capital(claim.verdict)),
                escape(&claim.found.join(" "))
            )
        })
        .collect();
    let picture = verdicts.picture.as_ref().map_or(String::new(), |picture| {
        format!(
            "<figure id=\"figure-verdicts\">{}<figcaption>Differences with their 95% intervals, in units of each margin. \
             {}</figcaption></figure>",
            sheet("verdicts", picture, ""),
            buttons("verdicts")
        )
    });
    format!(
        "<section id=\"verdicts\" aria-labelledby=\"verdicts-title\">\n<h2 id=\"verdicts-title\">Verdicts on claims</h2>\n\
         <ul>\n{claims}</ul>\n{picture}\n{}</section>",
        table(&verdicts.table, &[])
    )
}

/// With a capital letter at the beginning.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
