//! What several measurements come to.

/// The middle of some numbers, and the least and the largest.
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) largest: f64,
}

impl Spread {
    /// Of one number of each turn.
    pub(crate) fn of<T>(turns: &[T], which: impl Fn(&T) -> f64) -> Self {
        let mut numbers: Vec<f64> = turns.iter().map(which).collect();
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
        Self {
            least: at(0),
            median: at(numbers.len() / 2),
            largest: at(numbers.len().saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_that_of_the_sorted_numbers() {
        let spread = Spread::of(&[3.0, 1.0, 2.0], |number| *number);
        assert_eq!(
            [spread.least, spread.median, spread.largest],
            [1.0, 2.0, 3.0]
        );
        assert!(Spread::of(&[], |number: &f64| *number).median.is_nan());
    }
}
