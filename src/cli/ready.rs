//! Data for a run that names text: prepared on the way, once.

use super::{Global, prepare, say};
use crate::data::{Meta, PrepareOptions, identity, is_pipe, is_prepared};
use crate::fault::{Fault, Kind, Result};
use std::path::{Path, PathBuf};

/// The folder of tokens that `source` stands for: itself if it was prepared, else one beside the runs, `prepared/NAME-DIGEST`,
/// which is made if it is not there. The digest is of the text's files and the sizes, so changed text is prepared anew and
/// nobody's data is replaced.
///
/// # Errors
/// Those of preparing.
pub(super) fn data(
    source: &Path,
    beside: &Path,
    sizes: (Option<usize>, Option<usize>),
    global: &Global,
) -> Result<PathBuf> {
    if is_prepared(source) {
        return Ok(source.to_owned());
    }
    refuse_pipe(source)?;
    let (vocab_size, chunk) = PrepareOptions::sizes(sizes);
    let plain = PrepareOptions::new(vec![source.display().to_string()], beside.join("prepared"));
    let mut options = PrepareOptions { vocab_size, chunk, ..plain };
    let digest = identity(&options)?;
    options.out = beside.join("prepared").join(format!("{}-{}", name_of(source), &digest[..8]));
    // Left by an interrupted preparation.
    options.replace = true;
    if options.out.is_dir() && Meta::read(&options.out)?.is_some() {
        global.note(format!("using the text as it was prepared in {}", options.out.display()));
        return Ok(options.out);
    }
    global.note(format!("preparing the text in {}", options.out.display()));
    let meta = prepare::with_progress(&options, global.quiet).map_err(|fault| {
        // Nothing is left of what could not be prepared.
        let _ = std::fs::remove_dir(&options.out).and_then(|()| std::fs::remove_dir(beside.join("prepared")));
        fault
            .also("`normfree prepare` has the options that are named; --data takes the folder that it writes")
    })?;
    say(prepare::summary(&meta, &options.out))?;
    Ok(options.out)
}

/// The text is read once to be known again and once to be prepared, and a pipe gives it once.
fn refuse_pipe(source: &Path) -> Result<()> {
    let is_input = source == Path::new("-");
    if !is_input && !std::fs::metadata(source).is_ok_and(|found| is_pipe(found.file_type())) {
        return Ok(());
    }
    Err(Fault::new(Kind::Usage, "a run cannot be trained on a pipe")
        .at("--data")
        .found(if is_input { "standard input".to_owned() } else { source.display().to_string() })
        .remedy("prepare its text first, `normfree prepare - --out DIR`, and give that folder"))
}

/// What data or text are called in names of folders: the last part of the path, without its ending; `text` for a glob.
pub(super) fn name_of(source: &Path) -> String {
    let whole = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let stem = whole.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    if stem.is_empty() || !stem.chars().all(plain) { "text".to_owned() } else { stem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_name() {
        let names =
            ["notes/a book.txt", "notes/**/*.md", "/", "corpus.jsonl"].map(|path| name_of(Path::new(path)));
        assert_eq!(names, ["a book", "text", "text", "corpus"]);
    }
}
