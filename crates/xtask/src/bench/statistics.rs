//! Medians, quantiles and what can be said of their ratio.
//!
//! Times on a shared machine have a long tail to one side, so the mean says little and nothing is assumed of
//! how they are spread: the interval of a ratio comes from resampling.

/// How often the rounds are drawn again for an interval. The ends of a 95 % interval are then among 50 values
/// each.
const RESAMPLES: usize = 2000;

/// Returns the value below which this part of the values is, between two values in proportion; none of no
/// values.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "lengths of short lists"
)]
pub(crate) fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = sorted.len().checked_sub(1)? as f64 * part;
    let (below, above) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

/// Returns the median.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// A ratio of medians, and the interval that it is in with a probability of 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Compares two lists of the same rounds. Rounds are drawn again, not single values: what slows a whole round
/// down is in both lists, and does not widen the interval.
pub(crate) fn ratio(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<Ratio> {
    let of = |rounds: &[(f64, f64)]| {
        let (ours, theirs): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
        Some(median(&ours)? / median(&theirs)?)
    };
    let rounds: Vec<_> =
        ours.iter().zip(theirs).filter_map(|(ours, theirs)| Some(((*ours)?, (*theirs)?))).collect();
    let value = of(&rounds)?;
    let mut random = Random::new(1);
    let ratios: Vec<_> = (0..RESAMPLES)
        .filter_map(|_| of(&rounds.iter().map(|_| rounds[random.below(rounds.len())]).collect::<Vec<_>>()))
        .collect();
    Some(Ratio { value, low: quantile(&ratios, 0.025)?, high: quantile(&ratios, 0.975)? })
}

/// Numbers that look random and are the same each time (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0 and small beside 2⁶⁴.
    #[expect(clippy::cast_possible_truncation, reason = "below a usize")]
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Puts a list into another order; each order is as likely as any other.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn quantiles_are_between_the_values() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(median(&values), Some(2.5));
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 1.0), Some(4.0));
        assert_eq!(quantile(&[7.0], 0.95), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn one_slow_run_moves_no_median() {
        assert_eq!(median(&[1.0, 1.0, 1.0, 1.0, 500.0]), Some(1.0));
    }

    #[test]
    fn the_interval_has_the_ratio_in_it_and_shrinks_with_more_rounds() {
        let mut random = Random::new(7);
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let mut noisy = |around: f64, rounds: usize| -> Vec<Option<f64>> {
            (0..rounds).map(|_| Some(around * (1.0 + random.below(1000) as f64 / 5000.0))).collect()
        };
        let few = ratio(&noisy(1.0, 10), &noisy(2.0, 10)).unwrap();
        let many = ratio(&noisy(1.0, 120), &noisy(2.0, 120)).unwrap();
        for ratio in [few, many] {
            assert!(ratio.low <= ratio.value && ratio.value <= ratio.high, "{ratio:?}");
            assert!(ratio.low < 0.5 && 0.5 < ratio.high, "{ratio:?}");
        }
        assert!(many.high - many.low < (few.high - few.low) / 2.0, "{few:?} {many:?}");
    }

    /// The machine becomes ten times as slow for half of the rounds, for both: nothing of that is in the
    /// ratio.
    #[test]
    fn what_slows_whole_rounds_is_not_in_the_interval() {
        let slow = |time: f64| all(&[time, time, time, time * 10.0, time * 10.0, time * 10.0, time * 10.0]);
        let ratio = ratio(&slow(1.0), &slow(4.0)).unwrap();
        assert_eq!((ratio.low, ratio.value, ratio.high), (0.25, 0.25, 0.25));
    }

    #[test]
    fn a_round_that_failed_for_one_counts_for_neither() {
        let ours = [Some(1.0), None, Some(1.0), Some(9.0)];
        let theirs = [Some(2.0), Some(100.0), Some(2.0), None];
        assert_eq!(ratio(&ours, &theirs).unwrap().value, 0.5);
        assert_eq!(ratio(&[None], &[Some(1.0)]), None);
    }

    #[test]
    fn every_order_comes_about_as_often() {
        let mut random = Random::new(3);
        let mut first = [0usize; 4];
        for _ in 0..4000 {
            let mut list = [0, 1, 2, 3];
            random.shuffle(&mut list);
            first[list[0]] += 1;
            list.sort_unstable();
            assert_eq!(list, [0, 1, 2, 3]);
        }
        assert!(first.iter().all(|count| (900..1100).contains(count)), "{first:?}");
    }
}
