//! A configuration file to begin with, made of the table of keys.

use super::keys::{about_words, default_in_file};
use super::rows::of_table;
use super::schema::{Changes, TABLES};

/// The widest line of a comment.
const WIDE: usize = 100;

const HEAD: &str = "\
# A configuration of normfree. Every key but data.path has a default, which is shown behind the #;
# remove the # to set another value. `normfree keys` prints the same as a table.
";

/// A TOML file with every key, each behind a comment on what it does; only `data.path` is set.
pub fn init(data: &str) -> String {
    let mut out = HEAD.to_owned();
    for table in TABLES {
        out.push_str(&format!("\n[{table}]\n"));
        for (name, row) in of_table(table) {
            let (about, words) = about_words(row);
            let changes = match row.changes {
                Changes::OnResume | Changes::Freely => " May change on resume.",
                Changes::Never | Changes::InComparison => "",
            };
            comment(&mut out, "# ", &format!("{}.{changes}", about.trim_end_matches('.')));
            for word in words {
                comment(&mut out, "#   ", &word);
            }
            match (row.key, default_in_file(row)) {
                ("data.path", _) => out.push_str(&format!("{name} = {}\n", toml::Value::from(data))),
                (_, Ok(value)) => out.push_str(&format!("#{name} = {value}\n")),
                (_, Err(otherwise)) if name.len() + otherwise.len() + 6 > WIDE => {
                    comment(&mut out, "#   ", &format!("default: {otherwise}"));
                    out.push_str(&format!("#{name} = # as above\n"));
                }
                (_, Err(otherwise)) => out.push_str(&format!("#{name} = # {otherwise}\n")),
            }
        }
    }
    out
}

/// A comment, broken between words.
fn comment(out: &mut String, start: &str, text: &str) {
    let mut line = start.trim_end().to_owned();
    let indent = &start[start.trim_end().len()..];
    let mut gap = indent;
    for word in text.split_whitespace() {
        if line.chars().count() + gap.len() + word.chars().count() > WIDE {
            out.push_str(&line);
            out.push('\n');
            line = start.trim_end().to_owned();
            gap = indent;
        }
        line.push_str(gap);
        line.push_str(word);
        gap = " ";
    }
    out.push_str(&line);
    out.push('\n');
}
