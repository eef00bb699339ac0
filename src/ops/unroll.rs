//! A preprocessor for shader texts: WGSL has no unroll attribute, no conditional text, no register arrays and no imports.
//!
//! Directives are WGSL comments, one per line:
//! ```text
//! //# flags shuffle held: meaning     declares the flags that the file takes
//! //# numbers rows columns            declares numbers
//! //# texts element                   declares texts
//! //# import shared/finite            inserts shaders/shared/finite.wgsl here, expanded
//! //# import shared/operand with name = x, slot = 3, images = false
//! //# for c in columns                repeats its lines with $c = 0, 1, .. columns - 1
//! //# if shuffle                      keeps its lines if the flag is set, or the number is not zero
//! //# else                            (of the `if`)
//! //# end                             ends the innermost `for` or `if`
//! //# insert products                 inserts the text of that name here, unchanged
//! ```
//! `$c` and `${c}` stand for the loop counter, `$columns` for the number or text of that name. A file must be given exactly
//! what it declares. An imported file gets the values in `with`, and everything else it declares from the importing file.
//! Lines that begin with `enable` move to the front, where WGSL requires them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

/// The files that others import, by their path in `shaders/`.
macro_rules! fragments {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../shaders/", $name, ".wgsl")))),*]
    };
}

const FRAGMENTS: &[(&str, &str)] = fragments![
    "attention/blocks/backward",
    "attention/blocks/forward",
    "attention/blocks/scores",
    "attention/blocks/sums",
    "attention/cap",
    "attention/rows/forward",
    "attention/rows/handed",
    "attention/rows/key_gradient",
    "attention/rows/query_gradient",
    "attention/softmax",
    "attention/tensors",
    "attention/units/backward",
    "attention/units/forward",
    "attention/units/products",
    "attention/units/rows",
    "attention/units/sums",
    "matmul/or_zero",
    "matmul/read",
    "matmul/rows",
    "matmul/tensor",
    "matmul/tiled",
    "matmul/units",
    "matmul/units/put",
    "matmul/units/tile",
    "shared/finite",
    "shared/narrow",
    "shared/operand",
    "shared/operand_at",
    "shared/random",
    "shared/row_at",
    "shared/scaling",
    "shared/team_alone",
    "shared/team_subgroup",
    "shared/team_workgroup",
    "shared/vector1",
    "shared/vector4",
    "shared/column_at",
    "shared/walk",
    "shared/within",
];

/// The text of `template`, a file of `shaders/`, with its directives expanded.
///
/// # Panics
/// If a directive is not one of the above, or if the file does not declare exactly what is given. The files are part
/// of the program, and the tests expand every one.
pub(super) fn unroll(
    template: &'static str,
    numbers: &[(&'static str, usize)],
    flags: &[(&'static str, bool)],
    texts: &[(&'static str, String)],
) -> Arc<str> {
    let key = (template, numbers.to_vec(), flags.to_vec(), texts.to_vec());
    TEXTS.with_borrow_mut(|known| {
        known.entry(key).or_insert_with(|| write_out(template, numbers, flags, texts).into()).clone()
    })
}

/// A template, and the numbers, flags and texts that it gets.
type Key = (&'static str, Vec<(&'static str, usize)>, Vec<(&'static str, bool)>, Vec<(&'static str, String)>);

thread_local! {
    /// Texts that this thread has written out. Most nodes of a tape have the text of another node, and a run asks for the
    /// recipe of each several times.
    static TEXTS: RefCell<HashMap<Key, Arc<str>>> = RefCell::default();
}

fn write_out(
    template: &str,
    numbers: &[(&str, usize)],
    flags: &[(&str, bool)],
    texts: &[(&str, String)],
) -> String {
    let mut scope = Scope::default();
    scope.values.extend(numbers.iter().map(|&(name, number)| (name, Value::Number(number))));
    scope.values.extend(flags.iter().map(|&(name, flag)| (name, Value::Flag(flag))));
    scope.values.extend(texts.iter().map(|(name, text)| (*name, Value::Text(text))));
    let lines: Vec<&str> = template.lines().collect();
    let declared = declared(&lines);
    for (name, value) in &scope.values {
        let kind = value.kind();
        assert!(declared.contains(&(kind, name)), "no {kind} {name} is declared in: {}", lines[0]);
    }
    for (kind, name) in declared {
        assert!(scope.has(kind, name), "no {kind} {name} is given to: {}", lines[0]);
    }
    let mut written = Written::default();
    scope.lines(&lines, &mut written);
    written.enables + &written.rest
}

/// The same for a file that takes no texts; for modules above this one.
pub(crate) fn unrolled(
    template: &'static str,
    numbers: &[(&'static str, usize)],
    flags: &[(&'static str, bool)],
) -> Arc<str> {
    unroll(template, numbers, flags, &[])
}

/// Directives that declare names.
const KINDS: [&str; 3] = ["numbers", "flags", "texts"];

/// What a name stands for.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(usize),
    Flag(bool),
    Text(&'a str),
}

impl Value<'_> {
    /// The directive that declares it.
    fn kind(self) -> &'static str {
        match self {
            Self::Number(_) => KINDS[0],
            Self::Flag(_) => KINDS[1],
            Self::Text(_) => KINDS[2],
        }
    }
}

/// The output so far.
#[derive(Default)]
struct Written {
    /// Lines that begin with `enable`.
    enables: String,
    rest: String,
}

/// The names known to a file: the given ones, then the counters of the open loops.
#[derive(Default)]
struct Scope<'a> {
    values: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Scope<'a> {
    fn lines(&mut self, lines: &[&'a str], out: &mut Written) {
        let mut at = 0;
        while at < lines.len() {
            let words = directive(lines[at]);
            match words.as_deref() {
                None => self.line(lines[at], out),
                Some(["for", name, "in", bound]) => {
                    let (body, _, end) = block(lines, at);
                    for count in 0..self.number(bound) {
                        self.values.push((name, Value::Number(count)));
                        self.lines(body, out);
                        self.values.pop();
                    }
                    at = end;
                }
                Some(["if", condition]) => {
                    let (kept, otherwise, end) = block(lines, at);
                    self.lines(if self.holds(condition) { kept } else { otherwise }, out);
                    at = end;
                }
                Some(["insert", name]) => {
                    let Value::Text(text) = self.value("text", name) else { panic!("{name} is no text") };
                    text.lines().for_each(|line| put(line, out));
                }
                Some(["import", ..]) => self.import(lines[at], out),
                Some([kind, ..]) if KINDS.contains(kind) => {}
                Some(_) => panic!("not a directive: {}", lines[at]),
            }
            at += 1;
        }
    }

    /// Expands another file here.
    fn import(&self, line: &str, out: &mut Written) {
        let (name, arguments) = import(line);
        let name = self.filled(name);
        let known = FRAGMENTS.iter().find(|(known, _)| *known == name);
        let lines: Vec<&str> = known.unwrap_or_else(|| panic!("no fragment {name}")).1.lines().collect();
        let filled: Vec<(&str, String)> =
            arguments.iter().map(|&(name, value)| (name, self.filled(value))).collect();
        let declared = declared(&lines);
        for (argument, _) in &filled {
            assert!(declared.iter().any(|(_, name)| name == argument), "{name} takes no {argument}");
        }
        let mut scope = Scope::default();
        for (kind, wanted) in declared {
            let argument = filled.iter().find(|(argument, _)| *argument == wanted);
            let value = match (kind, argument) {
                ("flags", Some((_, given))) => Value::Flag(self.holds(given)),
                ("numbers", Some((_, given))) => {
                    Value::Number(given.parse().unwrap_or_else(|_| self.number(given)))
                }
                (_, Some((_, given))) => Value::Text(given),
                (_, None) => {
                    assert!(self.has(kind, wanted), "{name} wants {wanted} of its {kind}");
                    self.value(kind, wanted)
                }
            };
            scope.values.push((wanted, value));
        }
        scope.lines(&lines, out);
    }

    /// Writes one line of WGSL with its names replaced.
    fn line(&self, line: &str, out: &mut Written) {
        let line = line.trim_start();
        if !line.is_empty() && !line.starts_with("//") {
            put(&self.filled(line), out);
        }
    }

    /// The text with its names replaced.
    fn filled(&self, text: &str) -> String {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let (name, next) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').expect("a closing brace"),
                None => after.split_at(after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len())),
            };
            match self.value("number or text", name) {
                Value::Text(text) => filled.push_str(text),
                Value::Number(number) => write!(filled, "{number}").expect("a string can be written to"),
                Value::Flag(_) => panic!("{name} is a flag"),
            }
            rest = next;
        }
        filled + rest
    }

    fn number(&self, name: &str) -> usize {
        match self.value("number", name) {
            Value::Number(number) => number,
            _ => panic!("{name} is no number"),
        }
    }

    fn holds(&self, condition: &str) -> bool {
        if let Ok(constant) = condition.parse() {
            return constant;
        }
        match self.value("flag", condition) {
            Value::Flag(flag) => flag,
            Value::Number(number) => number != 0,
            Value::Text(_) => panic!("{condition} is no flag"),
        }
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        self.values.iter().any(|(known, value)| *known == name && value.kind() == kind)
    }

    /// The value of that name; if there are several, the innermost.
    fn value(&self, kind: &str, name: &str) -> Value<'a> {
        let known = self.values.iter().rev().find(|(known, _)| *known == name);
        known.unwrap_or_else(|| panic!("no {kind} is named {name}")).1
    }
}

/// Writes one line of WGSL.
fn put(line: &str, out: &mut Written) {
    let out = if line.starts_with("enable ") { &mut out.enables } else { &mut out.rest };
    out.push_str(line);
    out.push('\n');
}

/// The words of a directive; `None` for a line of WGSL.
fn directive(line: &str) -> Option<Vec<&str>> {
    Some(line.trim_start().strip_prefix("//#")?.split_whitespace().collect())
}

/// The file that an `import` names, and its arguments; a comment may follow.
fn import(line: &str) -> (&str, Vec<(&str, &str)>) {
    let whole = line.split_once("import").map_or("", |(_, whole)| whole);
    let whole = whole.split_once(" // ").map_or(whole, |(whole, _)| whole);
    let (name, arguments) = whole.split_once(" with ").unwrap_or((whole, ""));
    let pairs = arguments.split(',').filter_map(|pair| pair.split_once('='));
    (name.trim(), pairs.map(|(name, value)| (name.trim(), value.trim())).collect())
}

/// The declarations of a file: the kind and the name of each.
fn declared<'a>(lines: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut declared = Vec::new();
    for line in lines {
        let words = directive(line).unwrap_or_default();
        let Some((&kind, names)) = words.split_first().filter(|(kind, _)| KINDS.contains(kind)) else {
            continue;
        };
        let last = names.iter().position(|name| name.ends_with(':')).map_or(names.len(), |at| at + 1);
        declared.extend(names[..last].iter().map(|name| (kind, name.trim_end_matches(':'))));
    }
    declared
}

/// The lines of the block that starts at `open`: those before its `else`, those after it, and the index of its `end`.
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
mod tests;
