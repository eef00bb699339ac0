//! Which column, field or key of a row is its document.

use std::sync::Arc;

/// The names a document may be under unless the user names a column: the first that a row has.
const USUAL: [&str; 2] = ["text", "content"];

/// How many names a message lists.
const LISTED: usize = 12;

/// The names a document may be under, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(Arc<[String]>);

impl Columns {
    /// The `named` column alone, else the usual ones.
    pub fn new(named: Option<&str>) -> Self {
        match named {
            Some(name) => Self(Arc::new([name.to_owned()])),
            None => Self(USUAL.map(str::to_owned).into()),
        }
    }

    /// Whether the user named the column.
    pub fn is_named(&self) -> bool {
        self.0.len() == 1
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The place of the document's column among `names`.
    pub fn place<S: AsRef<str>>(&self, names: &[S]) -> Option<usize> {
        self.0.iter().find_map(|wanted| names.iter().position(|name| name.as_ref() == wanted))
    }

    /// Says that there is none, and what there is instead.
    pub fn missing<S: AsRef<str>>(&self, names: &[S]) -> String {
        let wanted = match &*self.0 {
            [one] => format!("no `{one}`"),
            more => {
                format!("neither {}", more.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" nor "))
            }
        };
        let listed: Vec<String> =
            names.iter().take(LISTED).map(|name| format!("`{}`", name.as_ref())).collect();
        match (listed.is_empty(), names.len() > LISTED) {
            (true, _) => wanted,
            (false, false) => format!("{wanted}, but {}", listed.join(", ")),
            (false, true) => format!("{wanted}, but {} and {} more", listed.join(", "), names.len() - LISTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_that_is_there_is_taken() {
        let usual = Columns::new(None);
        assert_eq!(usual.place(&["content", "id", "text"]), Some(2));
        assert_eq!(usual.place(&["content", "id"]), Some(0));
        assert_eq!(usual.place(&["Text"]), None);
        assert_eq!(Columns::new(Some("id")).place(&["text", "id"]), Some(1));
    }

    #[test]
    fn what_is_there_instead_is_listed() {
        assert_eq!(Columns::new(None).missing(&["a", "b"]), "neither `text` nor `content`, but `a`, `b`");
        assert_eq!(Columns::new(Some("x")).missing::<&str>(&[]), "no `x`");
        let many: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert!(Columns::new(None).missing(&many).ends_with("`11` and 8 more"));
    }
}
