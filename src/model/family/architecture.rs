//! What the row of a family says.

/// All that the program knows of a family.
#[derive(Debug)]
pub struct Architecture {
    /// What `model.family` calls it.
    pub word: &'static str,
    /// What it is, in one line of Markdown.
    pub about: &'static str,
    /// Defaults of keys, `model.KEY`, where they are not those of the schema.
    pub defaults: &'static [(&'static str, Setting)],
    pub positions: Positions,
    pub arrangement: Arrangement,
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

/// How a model knows where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// A table of that name, with a trained row for each position, is added to the embeddings.
    Learned(&'static str),
    /// Attention turns the first `model.rotary_pct` of each query and key head by its position.
    Rotary,
}

/// How attention and feed-forward network of a block go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// One after the other: x ← x + attention(norm₁ x), x ← x + ffn(norm₂ x).
    Sequential,
    /// Beside each other: x + attention(norm₁ x) + ffn(norm₂ x).
    Parallel,
}

/// What makes logits of the last norm's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The token table. Weight files may hold it once more under that name.
    Tied(&'static str),
    /// A matrix of that name.
    Own(&'static str),
}

/// The names of a family's parameters; modules without `.weight` and `.bias`.
#[derive(Debug, PartialEq, Eq)]
pub struct Naming {
    /// The token table.
    pub tokens: &'static str,
    /// What stands before the number of a block.
    pub blocks: &'static str,
    /// What this program calls a part of a block, and what the family's files call it. Parts that are not listed keep the
    /// program's name.
    pub inside: &'static [(&'static str, &'static str)],
    pub final_norm: &'static str,
    /// The slope that every block shares; whole.
    pub shared_slope: &'static str,
}

/// How a family's weight files differ from the model.
#[derive(Debug, PartialEq, Eq)]
pub struct Files {
    /// What stands before the decoder's names; files of the bare decoder leave it out.
    pub prefix: &'static str,
    pub matrices: Matrices,
    /// Ends of names in a block, behind the prefix, under which older files hold constants of the architecture: the causal
    /// mask, the frequencies of rotary positions.
    pub constants: &'static [&'static str],
    /// A matrix of queries, keys and values that files may hold in two, and the names of the two: queries and keys, values.
    pub apart: Option<(&'static str, [&'static str; 2])>,
}

/// How weight files hold the matrices of linear maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrices {
    /// [in, out], as the model does, with the columns q | k | v.
    InOut,
    /// [out, in], as PyTorch's `Linear`, with query, key and value of one head after another.
    OutInByHead,
}

impl Architecture {
    /// The family's default of a key, where it has one of its own.
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
