use super::{FRAGMENTS, declared, directive, import, write_out};
use std::collections::BTreeSet;

fn texts<'a>(pairs: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    pairs.iter().map(|&(name, text)| (name, text.to_owned())).collect()
}

#[test]
fn repeats_nested_loops_and_names_the_counts() {
    let text = "//# numbers rows columns
        //# for r in rows\n  //# for c in columns\n  x_${r}_$c = $columns;\n//# end\n//# end\nend";
    let wanted = "x_0_0 = 2;\nx_0_1 = 2;\nx_1_0 = 2;\nx_1_1 = 2;\nend\n";
    assert_eq!(write_out(text, &[("rows", 2), ("columns", 2)], &[], &[]), wanted);
}

#[test]
fn keeps_one_side_of_a_condition() {
    let text = "//# flags a b\n//# if a\n//# if b\nab\n//# else\na\n//# end\n//# else\nnone\n//# end";
    let kept = |a, b| write_out(text, &[], &[("a", a), ("b", b)], &[]);
    assert_eq!(kept(true, true), "ab\n");
    assert_eq!(kept(true, false), "a\n");
    assert_eq!(kept(false, true), "none\n");
}

#[test]
fn a_number_is_a_condition_where_it_is_not_zero() {
    let text = "//# numbers three\n//# for n in three\n//# if n\n$n\n//# else\nfirst\n//# end\n//# end";
    assert_eq!(write_out(text, &[("three", 3)], &[], &[]), "first\n1\n2\n");
}

#[test]
fn inserts_a_text_as_it_is() {
    let text = "//# flags x: whether\n//# texts t\na\n//# if x\n//# insert t\n//# end\nb";
    let made = |x| write_out(text, &[], &[("x", x)], &texts(&[("t", "$1 T\n")]));
    assert_eq!(made(true), "a\n$1 T\nb\n");
    assert_eq!(made(false), "a\nb\n");
}

#[test]
fn puts_a_text_into_a_line() {
    let text = "//# texts kind: of an element\n//# numbers size\narray<vec4<$kind>, $size> ${kind}";
    assert_eq!(write_out(text, &[("size", 3)], &[], &texts(&[("kind", "f16")])), "array<vec4<f16>, 3> f16\n");
}

#[test]
fn imports_a_file_and_moves_directives_of_wgsl_to_the_front() {
    let text = "//# texts kind\nbefore\n//# import shared/team_$kind\nafter";
    let made = write_out(text, &[], &[], &texts(&[("kind", "subgroup")]));
    assert!(made.starts_with("enable subgroups;\nbefore\noverride TEAM: u32;\n"), "{made}");
    assert!(made.ends_with("}\nafter\n"), "{made}");
}

#[test]
#[should_panic(expected = "no number is named row")]
fn a_misspelt_name_is_an_error() {
    write_out("//# for r in row\n//# end", &[], &[], &[]);
}

#[test]
#[should_panic(expected = "no flags y is declared in: x")]
fn a_flag_that_the_file_does_not_declare_is_an_error() {
    write_out("x", &[], &[("y", true)], &[]);
}

#[test]
#[should_panic(expected = "no texts t is given to: //# texts t")]
fn a_text_that_nobody_gives_is_an_error() {
    write_out("//# texts t\n//# insert t", &[], &[], &[]);
}

#[test]
#[should_panic(expected = "no numbers u is declared in: //# flags u")]
fn a_name_of_another_kind_is_an_error() {
    write_out("//# flags u", &[("u", 1)], &[], &[]);
}

#[test]
#[should_panic(expected = "no fragment shared/fnite")]
fn a_misspelt_file_is_an_error() {
    write_out("//# import shared/fnite", &[], &[], &[]);
}

#[test]
#[should_panic(expected = "shared/finite takes no x")]
fn an_argument_that_a_file_does_not_take_is_an_error() {
    write_out("//# import shared/finite with x = 1", &[], &[], &[]);
}

#[test]
#[should_panic(expected = "a block without an end")]
fn an_open_block_is_an_error() {
    write_out("//# flags z\n//# if z", &[], &[("z", true)], &[]);
}

/// Names that follow a `$`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|after| match after.strip_prefix('{') {
        Some(braced) => braced.split('}').next().unwrap(),
        None => after.split(|c: char| !c.is_alphanumeric()).next().unwrap(),
    })
}

/// The fragments that an import may refer to; the value after a `$` is not known here.
fn meant(name: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let (start, open) = name.split_once('$').map_or((name, false), |(start, _)| (start, true));
    FRAGMENTS.iter().filter(move |(known, _)| if open { known.starts_with(start) } else { *known == start })
}

/// The names that a file uses, except its loop counters, and the fragments that it imports.
fn used(text: &'static str) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let (mut names, mut counts, mut fragments) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        match directive(line).as_deref() {
            None if line.trim_start().starts_with("//") => {}
            None => names.extend(named(line)),
            Some(["for", count, "in", bound]) => {
                counts.insert(*count);
                names.insert(*bound);
            }
            Some(["if" | "insert", name]) => {
                names.insert(*name);
            }
            Some(["import", ..]) => {
                let (name, arguments) = import(line);
                names.extend(named(name));
                for (fragment, text) in meant(name) {
                    fragments.insert(*fragment);
                    for (kind, wanted) in declared(&text.lines().collect::<Vec<_>>()) {
                        match arguments.iter().find(|(argument, _)| *argument == wanted) {
                            None => {
                                names.insert(wanted);
                            }
                            Some((_, value)) if kind == "texts" || value.contains('$') => {
                                names.extend(named(value))
                            }
                            Some((_, value))
                                if value.parse::<usize>().is_err() && value.parse::<bool>().is_err() =>
                            {
                                names.insert(value);
                            }
                            Some(_) => {}
                        }
                    }
                }
            }
            Some(_) => {}
        }
    }
    (names.difference(&counts).copied().collect(), fragments)
}

#[test]
fn every_shader_uses_what_it_declares_and_declares_what_it_uses() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut imported = BTreeSet::new();
    let (mut files, mut faults) = (0, Vec::new());
    for entry in walkdir::WalkDir::new(&folder) {
        let path = entry.unwrap().into_path();
        if path.extension().is_none_or(|extension| extension != "wgsl") {
            continue;
        }
        let text: &'static str = std::fs::read_to_string(&path).unwrap().leak();
        let all: Vec<&str> =
            declared(&text.lines().collect::<Vec<_>>()).iter().map(|(_, name)| *name).collect();
        let names: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(names.len(), all.len(), "{} declares a name twice: {all:?}", path.display());
        let (used, fragments) = used(text);
        let unused: Vec<_> = names.difference(&used).collect();
        let undeclared: Vec<_> = used.difference(&names).collect();
        if !unused.is_empty() || !undeclared.is_empty() {
            faults.push(format!("{}: {unused:?} unused, {undeclared:?} undeclared", path.display()));
        }
        imported.extend(fragments);
        files += 1;
    }
    assert!(files > 30, "the search finds nothing any more");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let known: BTreeSet<&str> = FRAGMENTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(imported, known, "left what is imported, right the list of fragments");
}
