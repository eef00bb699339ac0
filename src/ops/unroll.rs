//! Unrolls the text of a shader: WGSL has no unroll attribute, no conditional text, and no register arrays.
//!
//! Directives are WGSL comments, one to a line:
//! ```text
//! //# for c in columns      repeats its lines with $c = 0, 1, .. columns - 1
//! //# if shuffle            keeps its lines where the flag is set
//! //# else                  (of the `if`)
//! //# end                   ends the innermost `for` or `if`
//! //# insert products       puts the text of that name here, as it is
//! ```
//! `$c` and `${c}` stand for the loop's count; `$columns` for the number or text of that name.

use std::fmt::Write;

/// The template with its directives carried out. `flags` lists every flag there is, set or not.
///
/// # Panics
/// Where a directive is not one of the above, or names what is not given: the template is part of the
/// program, and every one is expanded in the tests.
pub(super) fn unroll(
    template: &str,
    numbers: &[(&str, usize)],
    flags: &[(&str, bool)],
    texts: &[(&str, String)],
) -> String {
    let lines: Vec<&str> = template.lines().collect();
    let mut unroller = Unroller { numbers: numbers.to_vec(), flags, texts, text: String::new() };
    unroller.lines(&lines);
    unroller.text
}

/// The same for a template that takes no texts; for rooms above.
pub(crate) fn unrolled(template: &str, numbers: &[(&str, usize)], flags: &[(&str, bool)]) -> String {
    unroll(template, numbers, flags, &[])
}

struct Unroller<'a> {
    /// Given numbers, then the counts of the loops that are open.
    numbers: Vec<(&'a str, usize)>,
    flags: &'a [(&'a str, bool)],
    texts: &'a [(&'a str, String)],
    text: String,
}

impl<'a> Unroller<'a> {
    fn lines(&mut self, lines: &[&'a str]) {
        let mut at = 0;
        while at < lines.len() {
            let words = directive(lines[at]);
            match words.as_deref() {
                None => self.line(lines[at]),
                Some(["for", name, "in", bound]) => {
                    let (body, _, end) = block(lines, at);
                    for count in 0..self.number(bound) {
                        self.numbers.push((name, count));
                        self.lines(body);
                        self.numbers.pop();
                    }
                    at = end;
                }
                Some(["if", flag]) => {
                    let (kept, otherwise, end) = block(lines, at);
                    self.lines(if named("flag", self.flags, flag) { kept } else { otherwise });
                    at = end;
                }
                Some(["insert", name]) => self.text.push_str(&named("text", self.texts, name)),
                Some(_) => panic!("not a directive: {}", lines[at]),
            }
            at += 1;
        }
    }

    /// One line, names replaced.
    fn line(&mut self, line: &str) {
        let mut rest = line.trim_start();
        if rest.is_empty() || rest.starts_with("//") {
            return;
        }
        while let Some((before, after)) = rest.split_once('$') {
            self.text.push_str(before);
            let (name, next) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').expect("a closing brace"),
                None => after.split_at(after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len())),
            };
            match self.texts.iter().find(|(known, _)| *known == name) {
                Some((_, text)) => self.text.push_str(text),
                None => write!(self.text, "{}", self.number(name)).expect("a string can be written to"),
            }
            rest = next;
        }
        self.text.push_str(rest);
        self.text.push('\n');
    }

    fn number(&self, name: &str) -> usize {
        named("number", &self.numbers, name)
    }
}

/// What has that name; of several, the last.
fn named<T: Clone>(kind: &str, list: &[(&str, T)], name: &str) -> T {
    let known = list.iter().rev().find(|(known, _)| *known == name);
    known.unwrap_or_else(|| panic!("no {kind} is named {name}")).1.clone()
}

/// The words of a directive; `None` for a line of WGSL.
fn directive(line: &str) -> Option<Vec<&str>> {
    Some(line.trim_start().strip_prefix("//#")?.split_whitespace().collect())
}

/// The lines of the block that opens at `open`: up to its `else`, after it, and the place of its `end`.
fn block<'s, 'a>(lines: &'s [&'a str], open: usize) -> (&'s [&'a str], &'s [&'a str], usize) {
    let mut depth = 0;
    let mut middle = None;
    for (at, line) in lines.iter().enumerate().skip(open) {
        match directive(line).and_then(|words| words.first().copied()) {
            Some("for" | "if") => depth += 1,
            Some("else") if depth == 1 => middle = Some(at),
            Some("end") => {
                depth -= 1;
                if depth == 0 {
                    let middle_end = middle.unwrap_or(at);
                    let otherwise = middle.map_or(&lines[at..at], |middle| &lines[middle + 1..at]);
                    return (&lines[open + 1..middle_end], otherwise, at);
                }
            }
            _ => {}
        }
    }
    panic!("a block without an end: {}", lines[open]);
}

#[cfg(test)]
mod tests {
    use super::unroll;

    #[test]
    fn repeats_nested_loops_and_names_the_counts() {
        let text =
            "//# for r in rows\n  //# for c in columns\n  x_${r}_$c = $columns;\n//# end\n//# end\nend";
        let wanted = "x_0_0 = 2;\nx_0_1 = 2;\nx_1_0 = 2;\nx_1_1 = 2;\nend\n";
        assert_eq!(unroll(text, &[("rows", 2), ("columns", 2)], &[], &[]), wanted);
    }

    #[test]
    fn keeps_one_side_of_a_condition() {
        let text = "//# if a\n//# if b\nab\n//# else\na\n//# end\n//# else\nnone\n//# end";
        let kept = |a, b| unroll(text, &[], &[("a", a), ("b", b)], &[]);
        assert_eq!(kept(true, true), "ab\n");
        assert_eq!(kept(true, false), "a\n");
        assert_eq!(kept(false, true), "none\n");
    }

    #[test]
    fn inserts_a_text_as_it_is() {
        let text = "a\n//# if x\n//# insert t\n//# end\nb";
        let made = |x| unroll(text, &[], &[("x", x)], &[("t", "$1 T\n".to_owned())]);
        assert_eq!(made(true), "a\n$1 T\nb\n");
        assert_eq!(made(false), "a\nb\n");
    }

    #[test]
    fn puts_a_text_into_a_line() {
        let made =
            unroll("array<vec4<$kind>, $size> ${kind}", &[("size", 3)], &[], &[("kind", "f16".to_owned())]);
        assert_eq!(made, "array<vec4<f16>, 3> f16\n");
    }

    #[test]
    #[should_panic(expected = "no number is named row")]
    fn a_misspelt_name_is_an_error() {
        unroll("//# for r in row\n//# end", &[("rows", 1)], &[], &[]);
    }

    #[test]
    #[should_panic(expected = "no flag is named z")]
    fn a_misspelt_flag_is_an_error() {
        unroll("//# if z\n//# end", &[], &[("y", true)], &[]);
    }

    #[test]
    #[should_panic(expected = "no text is named t")]
    fn a_misspelt_text_is_an_error() {
        unroll("//# insert t", &[], &[], &[]);
    }

    #[test]
    #[should_panic(expected = "a block without an end")]
    fn an_open_block_is_an_error() {
        unroll("//# if z", &[], &[("z", true)], &[]);
    }
}
