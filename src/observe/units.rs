//! Which units of the feed-forward networks were active since the last record.

/// One mark per unit, `[layer][unit]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveUnits(Vec<Vec<bool>>);

impl ActiveUnits {
    /// Takes the number of tokens for which each unit was not zero, `[layer][unit]`.
    pub fn note(&mut self, active: &[Vec<f32>]) {
        self.0.resize(active.len(), Vec::new());
        for (marks, counts) in self.0.iter_mut().zip(active) {
            marks.resize(counts.len(), false);
            for (mark, &count) in marks.iter_mut().zip(counts) {
                *mark |= count != 0.0;
            }
        }
    }

    /// The share of each layer's units that were inactive since the last call. Resets the marks.
    pub fn take_dead(&mut self) -> Vec<f32> {
        let dead = |marks: &Vec<bool>| {
            let dead = marks.iter().filter(|&&mark| !mark).count();
            dead as f32 / marks.len().max(1) as f32
        };
        std::mem::take(&mut self.0).iter().map(dead).collect()
    }

    /// The marks for a checkpoint: one hexadecimal digit for every four units, one word for each layer.
    pub fn to_hex(&self) -> Vec<String> {
        let digit = |four: &[bool]| {
            let value = four.iter().enumerate().map(|(i, &mark)| u32::from(mark) << i).sum();
            char::from_digit(value, 16).expect("four bits are a digit")
        };
        self.0.iter().map(|marks| marks.chunks(4).map(digit).collect()).collect()
    }

    /// The inverse. Anything that is not a digit counts as 0. Bits past the last unit, from rounding up, are ignored.
    pub fn from_hex(words: &[String], units: usize) -> Self {
        let marks = |word: &String| {
            let values = word.chars().map(|c| c.to_digit(16).unwrap_or(0));
            let mut marks: Vec<bool> = values.flat_map(|v| (0..4).map(move |i| v >> i & 1 == 1)).collect();
            marks.resize(units, false);
            marks
        };
        Self(words.iter().map(marks).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_was_zero_at_every_look_is_dead() {
        let mut units = ActiveUnits::default();
        units.note(&[vec![0.0, 3.0, 0.0, 0.0, 0.0], vec![1.0; 5]]);
        units.note(&[vec![0.0, 0.0, 0.0, 0.0, 9.0], vec![0.0; 5]]);
        let back = ActiveUnits::from_hex(&units.to_hex(), 5);
        assert_eq!(back, units);
        assert_eq!(units.to_hex(), ["21", "f1"]);
        assert_eq!(units.take_dead(), [0.6, 0.0]);
        assert_eq!(units, ActiveUnits::default());
    }
}
