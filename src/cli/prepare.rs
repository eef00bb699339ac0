//! `normfree prepare`.

use super::{Global, bytes, counted, output, say, thousands};
use crate::data::{LeftOut, Meta, PrepareOptions, Progress, Skipped, Stage, prepare};
use crate::fault::Result;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const AFTER_HELP: &str = "\
A source is a folder, a file, a glob (quoted), a pipe, `-` (standard input), or
`auto`: the Python standard library of this machine, else the sources of the
Rust crates this program was built from. What a file holds is told by its first
bytes, not by its name alone: plain text, or a document in each row of JSON
lines, a JSON array, .csv or .tsv, Parquet, or Arrow as `datasets` saves it;
each of them plain, or compressed by gzip or Zstandard. The document of a row is
its `text`, else its `content`, or what --column names. A folder that is a data
set (rows beside a README, a hub's snapshot, `save_to_disk`) gives its data, not
its README and LICENSE. Data that are not read, such as a zip archive, are an
error.

In folders and globs, hidden files, files excluded by a .gitignore, and the
contents of DIR are left out; --all-files includes the first two. Links to
folders are not followed. Documents are cut into chunks; a tail shorter than a
chunk is dropped, except with --pack. Whole documents are held out for
evaluation. Text that is not UTF-8 is left out and counted, never repaired, and
so is a row without a document; no row may exceed 64 MiB. Equal sources, options
and seed give equal bytes. Whatever happens meanwhile, DIR holds either the old
data or the new, complete.

Examples:
  normfree prepare auto --out data/small
  normfree prepare ~/code --extensions py,rs --out data/code --vocab-size 8192
  normfree prepare 'notes/**/*.md' --out data/notes
  normfree prepare reviews.csv --column body --out data/reviews
  normfree prepare snapshot --tokenizer gpt2 --pack --out data/hub
  zstdcat corpus.jsonl.zst | normfree prepare - --out data/big";

/// Without a terminal: how long a stage may run without printing a line.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Folders, files, globs, pipes, `-` for standard input, or `auto`
    #[arg(required = true)]
    sources: Vec<String>,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Tokens to learn, by byte-level BPE
    #[arg(long, value_name = "N", default_value_t = 2048, allow_negative_numbers = true)]
    vocab_size: usize,
    /// Tokens per chunk: the longest sequence that can be trained on
    #[arg(long, value_name = "N", default_value_t = 128, allow_negative_numbers = true)]
    chunk: usize,
    /// Column, field or key with the documents [default: text, else content]
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Use a tokenizer.json, a vocab.json beside its merges.txt, or a folder with
    /// either, instead of learning one
    #[arg(long, value_name = "FILE", conflicts_with = "vocab_size")]
    tokenizer: Option<PathBuf>,
    /// Token that ends a document [default: <|endoftext|>]
    #[arg(long, value_name = "TOKEN")]
    end_of_text: Option<String>,
    /// Let chunks run across documents, with the end of text between them
    #[arg(long)]
    pack: bool,
    /// Share of the documents to hold out
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, allow_negative_numbers = true)]
    valid_share: f64,
    /// Seed that decides which documents are held out and which files --max-bytes keeps
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    seed: u64,
    /// File name extensions to include from folders [default: every text file; py or rs for `auto`]
    #[arg(long, value_name = "EXT,…", value_delimiter = ',')]
    extensions: Vec<String>,
    /// Include hidden files of folders and globs, and those excluded by a .gitignore
    #[arg(long)]
    all_files: bool,
    /// Draw files at random until they hold this much text
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_bytes: Option<u64>,
    /// Overwrite data prepared in DIR earlier
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(arguments: Arguments, global: &Global) -> Result<()> {
    let options = PrepareOptions {
        sources: arguments.sources,
        out: arguments.out,
        vocab_size: arguments.vocab_size,
        chunk: arguments.chunk,
        column: arguments.column,
        tokenizer: arguments.tokenizer,
        end_of_text: arguments.end_of_text,
        pack: arguments.pack,
        valid_share: arguments.valid_share,
        seed: arguments.seed,
        extensions: arguments.extensions,
        all_files: arguments.all_files,
        max_bytes: arguments.max_bytes,
        replace: arguments.replace,
    };
    let meta = with_progress(&options, global.quiet)?;
    say(summary(&meta, &options.out))?;
    if options.tokenizer.is_none() && meta.vocab_size < options.vocab_size {
        global.note(format!(
            "the text yields {} instead of the {} requested; set model.vocab_size = {}",
            counted(meta.vocab_size as u64, "token"),
            thousands(options.vocab_size as u64),
            meta.vocab_size
        ));
    }
    Ok(())
}

/// Prepares data, with a bar on a terminal and one line per stage elsewhere.
pub(super) fn with_progress(options: &PrepareOptions, quiet: bool) -> Result<Meta> {
    let bar = output::bar(quiet, "{msg:24} {bar:30} {percent:>3}%  {elapsed} gone, {eta} left");
    bar.enable_steady_tick(Duration::from_millis(200));
    let plain = bar.is_hidden() && !quiet;
    let began = Instant::now();
    let mut stage: Option<Stage> = None;
    let mut told = began;
    let meta = prepare(options, &mut |progress: Progress| {
        let is_new = stage != Some(progress.stage);
        if is_new {
            stage = Some(progress.stage);
            bar.set_message(progress.stage.to_string());
        }
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        if is_new {
            bar.reset_eta();
        }
        if plain && (is_new || told.elapsed() >= BETWEEN_LINES) {
            told = Instant::now();
            let seconds = began.elapsed().as_secs_f64();
            let share = match (is_new, progress.done * 100 / progress.total.max(1)) {
                (true, _) => String::new(),
                (false, share) => format!(", {share}%"),
            };
            output::tell(format_args!("{seconds:>6.1} s  {}{share}", progress.stage));
        }
    });
    bar.finish_and_clear();
    meta
}

/// A folder's contents for a person.
pub(super) fn summary(meta: &Meta, out: &Path) -> String {
    let mut lines = vec![
        format!("{}: {}", out.display(), meta.source.description.join(", ")),
        format!("  text        {} in {}", bytes(meta.source.bytes), counted(meta.source.files, "file")),
        format!("  vocabulary  {}", counted(meta.vocab_size as u64, "token")),
    ];
    for (name, part) in [("training", meta.train), ("held out", meta.valid)] {
        lines.push(format!(
            "  {name}    {} in {} of {}, from {}",
            counted(part.tokens, "token"),
            counted(part.chunks, "chunk"),
            meta.chunk,
            counted(part.documents, "document")
        ));
    }
    if meta.dropped_tokens > 0 {
        lines.push(format!(
            "  dropped     {} in tails too short for a chunk",
            counted(meta.dropped_tokens, "token")
        ));
    }
    let Skipped { not_utf8, binary, malformed, first, left_out } = &meta.skipped;
    if not_utf8 + binary + malformed > 0 {
        let mut line = format!(
            "  skipped     {} or rows that are not UTF-8, {}",
            counted(*not_utf8, "file"),
            counted(*binary, "binary file")
        );
        if *malformed > 0 {
            line += &format!(", {} without a document", counted(*malformed, "row"));
        }
        lines.push(line);
    }
    if let Some(first) = first {
        lines.push(format!("              the first is {first}"));
    }
    if *left_out != LeftOut::default() {
        let mut what = Vec::new();
        if left_out.hidden > 0 {
            what.push(counted(left_out.hidden, "hidden name"));
        }
        if left_out.gitignore {
            what.push("files excluded by .gitignore".to_owned());
        }
        lines.push(format!("  left out    {} (--all-files includes them)", what.join(", and ")));
    }
    lines.extend(meta.notes.iter().map(|note| format!("  note        {note}")));
    lines.join("\n")
}
