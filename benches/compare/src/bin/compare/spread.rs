//! Median, least and most of some figures, and the confidence interval of the median.

/// Distribution of the figures of several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// The interval that has the true median with a probability of 95 %. `None` for fewer than six
    /// figures, which are too few for it.
    pub(crate) sure: Option<(f64, f64)>,
}

impl Spread {
    /// Computes the spread of `figures`; `None` if there are none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        let outside = left_outside(sorted.len());
        let sure = outside.map(|out| (sorted[out], sorted[sorted.len() - 1 - out]));
        Some(Self { median: f64::midpoint(lower, upper), least, most, sure })
    }
}

/// Returns how many of `count` figures at each end are outside the interval of the median.
///
/// The rest contains the true median with a probability of 95 %, whatever the distribution: a
/// figure is below or above the true median with equal probability.
fn left_outside(count: usize) -> Option<usize> {
    let mut chance = 0.5f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let (mut below, mut outside) = (0.0, None);
    for out in 0..count / 2 {
        below += chance;
        if 2.0 * below > 0.05 {
            break;
        }
        outside = Some(out);
        chance *= (count - out) as f64 / (out + 1) as f64;
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::{Spread, left_outside};

    #[test]
    fn the_interval_of_the_median_is_that_of_the_binomial_distribution() {
        let known = [(5, None), (6, Some(0)), (9, Some(1)), (15, Some(3)), (25, Some(7))];
        for (count, outside) in known {
            assert_eq!(left_outside(count), outside, "{count}");
        }
        let figures = (0..15).map(f64::from);
        assert_eq!(Spread::of(figures).and_then(|spread| spread.sure), Some((3.0, 11.0)));
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(spread, Some(Spread { median: 2.0, least: 1.0, most: 3.0, sure: None }));
        let spread = Spread::of([4.0, 1.0, 2.0, 8.0]);
        assert_eq!(spread, Some(Spread { median: 3.0, least: 1.0, most: 8.0, sure: None }));
        assert_eq!(Spread::of([]), None);
    }
}
