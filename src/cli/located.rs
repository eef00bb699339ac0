//! Which weights a path means: those of a run, of one of its checkpoints, or of a Hugging Face folder.

use super::{Global, thousands};
use crate::config::Config;
use crate::data::{Corpus, LoadedTokenizer, Meta, tokenizer_path};
use crate::fault::{Fault, Kind, Result};
use crate::files::sha256;
use crate::hub::{CONFIG_FILE, Description};
use crate::shell;
use crate::train::checkpoint::{Checkpoint, WeightFile};
use crate::train::evaluate::HeldOut;
use crate::train::loader::layout;
use crate::train::places;
use crate::train::run_folder::RunFolder;
use std::path::{Path, PathBuf};

/// Tokens of a batch that a model from elsewhere is evaluated on, roughly.
const BATCH_TOKENS: usize = 8192;

/// Opened weights, with what is known of them.
pub(super) struct Located {
    pub origin: Origin,
    pub config: Config,
    pub weights: WeightFile,
}

/// Where weights come from.
pub(super) enum Origin {
    Run {
        run: RunFolder,
        checkpoint: Box<Checkpoint>,
    },
    /// A folder with weights and a `config.json`.
    HuggingFace {
        folder: PathBuf,
        /// The token that ends a text.
        end_of_text: Option<u32>,
    },
}

/// Opens the run, the checkpoint or the Hugging Face folder that `path` names.
///
/// # Errors
/// [`Kind::RunFolder`] if it is none of them; [`Kind::Checkpoint`] if the weights cannot be used, or the folder's model is one
/// that this program does not compute; [`Kind::Io`].
pub(super) fn locate(path: &Path, global: &Global) -> Result<Located> {
    if path.join("trainer_state.json").is_file() {
        let whole = path.canonicalize().map_err(|e| Fault::io("open the checkpoint", path, &e))?;
        // RUN/checkpoints/step-N
        let run = RunFolder::read(whole.parent().and_then(Path::parent).unwrap_or(Path::new("/")))?;
        let config = Config::load_of_run(&run.config(), &[])?;
        let checkpoint = Checkpoint::open(path)?;
        let weights = checkpoint.model(&layout(&config))?;
        return of_run(run, config, checkpoint, weights);
    }
    if !RunFolder::is_at(path) && path.join(CONFIG_FILE).is_file() {
        return hugging_face(path, global);
    }
    let run = RunFolder::read(path)?;
    let config = Config::load_of_run(&run.config(), &[])?;
    let Some((latest, weights)) = Checkpoint::newest(&run, &layout(&config))? else {
        return Err(Fault::new(Kind::Checkpoint, "the run has no checkpoint yet")
            .at(run.checkpoints().display())
            .remedy("wait for the first one: train.checkpoint_every says when it is written"));
    };
    for fault in &latest.skipped {
        global.note(format!("skipped a damaged checkpoint: {fault}"));
    }
    of_run(run, config, latest.checkpoint, weights)
}

/// The same, with text to evaluate on: of the folder `data`, or of the run's own data. A model from elsewhere, whose
/// configuration says nothing of batches, gets sequences that the chunks of the data divide into.
///
/// # Errors
/// Those of [`locate`], [`HeldOut::find`] and [`Located::check_tokens`]; [`Kind::Usage`] if a Hugging Face folder is given
/// without `data`.
pub(super) fn with_data(path: &Path, data: Option<&Path>, global: &Global) -> Result<(Located, HeldOut)> {
    let mut located = locate(path, global)?;
    let folders = data.map_or_else(|| located.data(), |data| vec![data.to_owned()]);
    let Some(first) = folders.first() else {
        return Err(Fault::new(Kind::Usage, "a folder from Hugging Face has no held-out text of its own")
            .at(path.display())
            .remedy("give a folder prepared with its tokenizer: --data DIR"));
    };
    if located.run().is_none() {
        let most = located.config.model.n_positions;
        let chunk = Meta::read(first)?.map_or(most, |meta| meta.chunk);
        let length = (2..=most.min(chunk)).rev().find(|length| chunk.is_multiple_of(*length));
        let length = length.unwrap_or(most);
        let train = &mut located.config.train;
        (train.sequence_length, train.batch_size) = (length, (BATCH_TOKENS / length).clamp(1, 16));
    }
    let found = HeldOut::find(&folders, &located.config, located.checkpoint());
    let held_out = found.map_err(|fault| match fault.kind {
        Kind::Data => fault.remedy("give a complete prepared folder with the model's vocabulary: --data DIR"),
        _ => fault,
    })?;
    located.check_tokens(&held_out)?;
    if !held_out.same_data && data.is_none() {
        global.note(other_data(&held_out.corpus));
    }
    Ok((located, held_out))
}

/// The note where a corpus is not what the run was started with.
pub(super) fn other_data(corpus: &Corpus) -> String {
    format!("{} is not the data that the run was started with", corpus.folder().display())
}

/// The configuration defines the model: weights with another number of heads look the same.
fn of_run(run: RunFolder, config: Config, checkpoint: Checkpoint, weights: WeightFile) -> Result<Located> {
    checkpoint.check_configuration(&config)?;
    Ok(Located { origin: Origin::Run { run, checkpoint: Box::new(checkpoint) }, config, weights })
}

fn hugging_face(folder: &Path, global: &Global) -> Result<Located> {
    let Some(description) = Description::read(folder)? else { unreachable!("it was there") };
    description.notes.iter().for_each(|note| global.note(note));
    let config = description.config()?;
    // What only training reads may be missing.
    let weights = WeightFile::open_to_start(folder, &layout(&config))?;
    let origin = Origin::HuggingFace { folder: folder.to_owned(), end_of_text: description.end_of_text };
    Ok(Located { origin, config, weights })
}

impl Located {
    /// The folder of the weights.
    pub fn path(&self) -> &Path {
        match &self.origin {
            Origin::Run { checkpoint, .. } => checkpoint.path(),
            Origin::HuggingFace { folder, .. } => folder,
        }
    }

    /// The folder of the run, or of the model.
    pub fn folder(&self) -> &Path {
        self.run().map_or_else(|| self.path(), |(run, _)| run.path())
    }

    /// The run and its checkpoint, if the weights are a run's.
    pub fn run(&self) -> Option<(&RunFolder, &Checkpoint)> {
        match &self.origin {
            Origin::Run { run, checkpoint } => Some((run, checkpoint)),
            Origin::HuggingFace { .. } => None,
        }
    }

    /// The checkpoint, if the weights are a run's.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.run().map(|(_, checkpoint)| checkpoint)
    }

    /// Steps that the weights were trained for, if that is known.
    pub fn step(&self) -> Option<u64> {
        self.checkpoint().map(|checkpoint| checkpoint.state().step)
    }

    /// The token that ends a text, as a folder's `config.json` has it.
    pub fn end_of_text(&self) -> Option<u32> {
        match self.origin {
            Origin::Run { .. } => None,
            Origin::HuggingFace { end_of_text, .. } => end_of_text,
        }
    }

    /// The folders that may hold the data of the weights, most likely first; none if they are no run's.
    pub fn data(&self) -> Vec<PathBuf> {
        self.run().map_or(Vec::new(), |(run, _)| places::data(run, &self.config))
    }

    /// The SHA-256 of the tokenizer of a run's data, if its checkpoint has it.
    fn known_tokenizer(&self) -> Option<&String> {
        self.checkpoint()?.state().data.as_ref()?.tokenizer.as_ref()
    }

    /// The likeliest place of the tokenizer of the weights.
    fn tokenizer_file(&self) -> PathBuf {
        let Some((run, _)) = self.run() else { return tokenizer_path(self.path()) };
        let of_data = self.data().into_iter().map(|folder| tokenizer_path(&folder));
        let all: Vec<PathBuf> = std::iter::once(run.tokenizer()).chain(of_data).collect();
        let known = self.known_tokenizer();
        let is_known = |path: &&PathBuf| known.is_some_and(|known| is_file_of(path, known));
        let best = all.iter().find(is_known).or_else(|| all.iter().find(|path| path.exists()));
        best.unwrap_or(&all[0]).clone()
    }

    /// Compares the tokenizer of data that are not the run's with that of the weights, if both are there: the same numbers would
    /// stand for other text.
    ///
    /// # Errors
    /// [`Kind::Data`] if they differ; those of [`LoadedTokenizer::read`].
    pub fn check_tokens(&self, HeldOut { corpus, same_data }: &HeldOut) -> Result<()> {
        if *same_data {
            return Ok(());
        }
        let (own, of_data) = (self.tokenizer_file(), tokenizer_path(corpus.folder()));
        if own == of_data || !own.exists() || !of_data.exists() {
            return Ok(());
        }
        let known = self.known_tokenizer().cloned();
        let known = known.or_else(|| std::fs::read(&own).ok().map(|bytes| sha256(&bytes)));
        if known.is_some_and(|known| is_file_of(&of_data, &known))
            || LoadedTokenizer::read(&own)?.same_tokens(&LoadedTokenizer::read(&of_data)?)
        {
            return Ok(());
        }
        Err(Fault::new(Kind::Data, "the data was prepared with another tokenizer than the model's")
            .at(corpus.folder().display())
            .found(format!("other tokens in {} than in {}", of_data.display(), own.display()))
            .remedy(format!(
                "prepare the text with the model's: normfree prepare TEXT --tokenizer {} --out DIR",
                shell::quoted(own.as_os_str())
            )))
    }

    /// The tokenizer of the weights: the `given` one, else the run's own copy, else the one in its data folder; that of a
    /// Hugging Face folder is in the folder.
    ///
    /// # Errors
    /// [`Kind::Data`] if there is none, or it has more tokens than the model; those of [`LoadedTokenizer::read`].
    pub fn tokenizer(&self, given: Option<&Path>, global: &Global) -> Result<LoadedTokenizer> {
        let known = self.known_tokenizer();
        let own = self.tokenizer_file();
        let path = given.unwrap_or(&own);
        let missing = "give the tokenizer.json that the model's data was prepared with: --tokenizer FILE";
        if !path.exists() {
            return Err(Fault::new(Kind::Data, "there is no tokenizer to encode and decode text with")
                .at(path.display())
                .remedy(missing));
        }
        let mut tokenizer = LoadedTokenizer::read(path)?;
        if tokenizer.end_of_text.is_none() {
            // The data may have been prepared with another token at the end of texts.
            let is_known =
                |folder: &PathBuf| known.is_some_and(|known| is_file_of(&tokenizer_path(folder), known));
            let folder = self.data().into_iter().find(is_known);
            let meta = folder.map(|folder| Meta::read(&folder)).transpose()?.flatten();
            tokenizer.end_of_text = meta.and_then(|meta| meta.end_of_text).or(self.end_of_text());
        }
        if tokenizer.vocab_size > self.config.model.vocab_size {
            return Err(Fault::new(Kind::Data, "the tokenizer is not that of the model's data")
                .at(path.display())
                .found(format!(
                    "a tokenizer of {} tokens, a model of {}",
                    thousands(tokenizer.vocab_size as u64),
                    thousands(self.config.model.vocab_size as u64)
                ))
                .remedy(missing));
        }
        if known.is_some_and(|known| !is_file_of(path, known)) {
            global.note(format!(
                "{} is not the tokenizer that the run was trained with: its tokens may stand for different text",
                path.display()
            ));
        }
        tokenizer.notes.iter().for_each(|note| global.note(note));
        Ok(tokenizer)
    }
}

fn is_file_of(path: &Path, digest: &str) -> bool {
    std::fs::read(path).is_ok_and(|bytes| sha256(&bytes) == digest)
}
