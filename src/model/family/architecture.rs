//! The fields of a family's row.

/// All the program knows about a family.
#[derive(Debug)]
pub struct Architecture {
    /// Its word in `model.family`.
    pub word: &'static str,
    /// A description in one line of Markdown.
    pub about: &'static str,
    /// Defaults of keys, `model.KEY`, that differ from those of the schema.
    pub defaults: &'static [(&'static str, Setting)],
    pub positions: Positions,
    pub arrangement: Arrangement,
    pub projections: Projections,
    /// What `model.tie_embeddings` overrides.
    pub head: Head,
    pub naming: Naming,
    pub files: Files,
}

/// The value of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting {
    Integer(i128),
    Number(f64),
    Flag(bool),
    Word(&'static str),
}

/// How a model encodes a token's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// A table with this name, with a trained row for each position, is added to the embeddings.
    Learned(&'static str),
    /// Attention rotates the first `model.rotary_pct` of each query and key head by its position.
    Rotary,
}

/// How a block combines attention and the feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// In sequence: x ← x + attention(norm₁ x), x ← x + ffn(norm₂ x).
    Sequential,
    /// In parallel: x + attention(norm₁ x) + ffn(norm₂ x).
    Parallel,
}

/// How a block holds matrices that read the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projections {
    /// One matrix with packed columns: query, key and value; gate and up of a gated network.
    Packed,
    /// Each on its own; then query heads may share key and value heads.
    Apart,
}

/// What maps the last norm's rows to logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The token table. Weight files may hold a second copy under this name.
    Tied(&'static str),
    /// A matrix with this name.
    Own(&'static str),
}

/// The names of a family's parameters; module names omit `.weight` and `.bias`.
#[derive(Debug, PartialEq, Eq)]
pub struct Naming {
    /// The token table.
    pub tokens: &'static str,
    /// The prefix of a block's number.
    pub blocks: &'static str,
    /// This program's name for a part of a block, and the name in the family's files. Parts that are not listed keep the
    /// program's name.
    pub inside: &'static [(&'static str, &'static str)],
    pub final_norm: &'static str,
    /// The full name of the slope that all blocks share.
    pub shared_slope: &'static str,
}

/// How a family's weight files differ from the model.
#[derive(Debug, PartialEq, Eq)]
pub struct Files {
    /// The prefix of the decoder's names; files of the bare decoder omit it.
    pub prefix: &'static str,
    pub matrices: Matrices,
    /// Whether they hold a bias beside each matrix, zeros where the model has none.
    pub biases: bool,
    /// Suffixes of names in a block under which older files hold constants of the architecture: the causal mask, the
    /// frequencies of rotary positions.
    pub constants: &'static [&'static str],
    /// A matrix of queries, keys and values that files may split in two, and the two names: queries and keys, values.
    pub apart: Option<(&'static str, [&'static str; 2])>,
}

/// How weight files store the matrices of linear maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrices {
    /// [in, out], as in the model, with the columns q | k | v.
    InOut,
    /// [out, in], as in PyTorch's `Linear`, with query, key and value of one head after another.
    OutInByHead,
}

impl Architecture {
    /// The family's default for a key, if it has its own.
    pub fn default_of(&self, key: &str) -> Option<Setting> {
        self.defaults.iter().find(|(of, _)| *of == key).map(|&(_, setting)| setting)
    }
}

impl Naming {
    /// The name of a part of a block.
    pub fn part(&self, part: &'static str) -> &'static str {
        self.inside.iter().find(|(ours, _)| *ours == part).map_or(part, |(_, theirs)| theirs)
    }

    /// The name of a part of block `layer`.
    pub fn in_block(&self, layer: usize, part: &'static str) -> String {
        format!("{}{layer}.{}", self.blocks, self.part(part))
    }
}
