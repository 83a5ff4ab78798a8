//! Targets of ratios, and the verdict on whether a target is met.

use std::fmt;

use crate::spread::Spread;

/// Maximum noise per margin for a target to be met.
const NOISE_PER_MARGIN: f64 = 1.0 / 3.0;

/// Returns the noise: the width of the 95 % interval of the median of A/A, extended to include 1.
///
/// A/A is the ratio of a program to itself. Single rounds differ more, but medians are compared
/// with targets. The noise is infinite if there are too few rounds for an interval.
pub(crate) fn noise(again: Option<Spread>) -> f64 {
    match again.and_then(|again| again.sure) {
        Some((least, most)) => most.max(1.0) - least.min(1.0),
        None => f64::INFINITY,
    }
}

/// A target for a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// Whether a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// The median meets the target, but the margin is less than three times the noise, or the
    /// interval of the median includes values that miss it.
    WithinNoise,
    Missed,
}

impl Bound {
    /// Returns the verdict on a ratio; `noise` is the result of [`noise`].
    ///
    /// The margin is the distance from the target divided by the target, so that ratios near 1 and
    /// ratios near 10 are treated alike.
    pub(crate) fn verdict(self, ratio: Spread, noise: f64) -> Verdict {
        let margin_of = |ratio: f64| match self {
            Self::AtMost(target) => (target - ratio) / target,
            Self::AtLeast(target) => (ratio - target) / target,
        };
        let margin = margin_of(ratio.median);
        let is_sure = ratio
            .sure
            .is_some_and(|(least, most)| margin_of(least) >= 0.0 && margin_of(most) >= 0.0);
        if margin.is_nan() || margin < 0.0 {
            Verdict::Missed
        } else if is_sure && noise < margin * NOISE_PER_MARGIN {
            Verdict::Met
        } else {
            Verdict::WithinNoise
        }
    }

    /// Returns the target and the verdict as text, like `≤ 1.25: met`.
    pub(crate) fn judged(self, ratio: Spread, again: Option<Spread>) -> String {
        format!("{self}: {}", self.verdict(ratio, noise(again)))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(target) => write!(f, "\u{2264} {target}"),
            Self::AtLeast(target) => write!(f, "\u{2265} {target}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::WithinNoise => "met, within noise",
            Self::Missed => "**missed**",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_only_if_the_noise_is_under_a_third_of_the_margin() {
        let exactly = |ratio| Spread::of([ratio; 6]).unwrap();
        let bound = Bound::AtMost(1.25);
        assert_eq!(bound.verdict(exactly(1.0), 0.06), Verdict::Met);
        assert_eq!(bound.verdict(exactly(1.0), 0.07), Verdict::WithinNoise);
        assert_eq!(bound.verdict(exactly(1.26), 0.0), Verdict::Missed);
        let bound = Bound::AtLeast(4.0);
        assert_eq!(bound.verdict(exactly(6.0), 0.16), Verdict::Met);
        assert_eq!(bound.verdict(exactly(6.0), 0.17), Verdict::WithinNoise);
        assert_eq!(bound.verdict(exactly(3.9), 0.0), Verdict::Missed);
    }

    #[test]
    fn a_target_is_not_met_by_a_ratio_whose_own_median_may_miss_it() {
        let verdict = |bound: Bound, most| {
            bound.verdict(Spread::of([1.0, 1.0, 1.0, 1.0, 1.0, most]).unwrap(), 0.0)
        };
        assert_eq!(verdict(Bound::AtMost(1.25), 1.25), Verdict::Met);
        assert_eq!(verdict(Bound::AtMost(1.25), 1.26), Verdict::WithinNoise);
        assert_eq!(verdict(Bound::AtLeast(0.5), 0.4), Verdict::WithinNoise);
        // Too few rounds for an interval.
        let few = Spread::of([1.0; 5]).unwrap();
        assert_eq!(Bound::AtMost(1.25).verdict(few, 0.0), Verdict::WithinNoise);
    }

    #[test]
    fn without_figures_nothing_is_met() {
        assert_eq!(
            Bound::AtMost(1.0).verdict(Spread::of([f64::NAN; 6]).unwrap(), 0.0),
            Verdict::Missed
        );
    }

    #[test]
    fn noise_is_the_width_of_the_interval_of_the_median_including_one() {
        let width = |ratios: &[f64]| noise(Spread::of(ratios.iter().copied()));
        assert!((width(&[0.75, 0.9, 1.0, 1.0, 1.1, 1.25]) - 0.5).abs() < 1e-9);
        assert!((width(&[1.25, 1.3, 1.4, 1.5, 1.5, 1.5]) - 0.5).abs() < 1e-9);
        // Outliers do not change the median of many rounds.
        let many = [0.5, 0.99, 0.99, 1.0, 1.0, 1.0, 1.01, 1.01, 2.0];
        assert!((width(&many) - 0.02).abs() < 1e-9);
        // A few equal ratios are too few for an interval.
        assert!(width(&[1.0; 5]).is_infinite());
        assert!(noise(None).is_infinite());
    }
}
