//! Text from a trained model, token by token: a language model as a reader with a memory, and sampling of the next token; and
//! what the heads of such a model read.

mod attention;
mod reader;
mod sampler;

pub use attention::attend;
pub use reader::{Reader, Reading, reading_memory, reading_tapes};
pub use sampler::{Sampler, Sampling};

/// The part of a text that a reader of `context` tokens continues. A text that has outgrown the context is cut to its last
/// half, because everything is read anew after a cut: this way not every token needs one.
pub fn window(text: &[u32], context: usize) -> &[u32] {
    if text.len() <= context {
        return text;
    }
    let half = context.div_ceil(2);
    // It grows from half the context to the whole, and starts again.
    let grown = (text.len() - context - 1) % (context - half + 1).max(1);
    &text[text.len() - half - grown..]
}

#[cfg(test)]
mod tests {
    use super::window;

    #[test]
    fn a_window_grows_to_the_context_and_is_cut_to_half() {
        for context in [2, 3, 8, 9] {
            let text: Vec<u32> = (0..100).collect();
            let mut before: &[u32] = &[];
            for length in 1..=text.len() {
                let now = window(&text[..length], context);
                assert_eq!(now.last(), Some(&(length as u32 - 1)));
                assert!((1..=context).contains(&now.len()), "{length}: {}", now.len());
                if before.len() == context {
                    assert_eq!(now.len(), context.div_ceil(2), "{length} of {context}");
                } else {
                    assert_eq!(now.len(), before.len() + 1, "{length} of {context}");
                    assert_eq!(&now[..before.len()], before);
                }
                before = now;
            }
        }
    }
}
