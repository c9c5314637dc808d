//! From the measures of v1, in which the runtime-spec speaks, to those of v2 and systemd. The formulas are
//! runc's: users compare.

use crate::error::Error;

/// cpu.shares (2 to 262144, usually 1024) to cpu.weight (1 to 10000, usually 100).
///
/// Least, usual and greatest value of the one are those of the other: a quadratic in the logarithm goes
/// through all three.
#[expect(clippy::cast_precision_loss, reason = "values of interest are below 2^18")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the result is between 1 and 10000"
)]
pub(crate) fn cpu_weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    10f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64
}

/// blkio.weight (10 to 1000) to io.weight (1 to 10000), linear.
pub(crate) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// blkio.weight to systemd's IOWeight (1 to 10000), so that systemd, which has another measure for BFQ than
/// for io.cost, writes to io.bfq.weight what is meant. BFQ is what weights do something to without more ado.
pub(crate) fn unit_io_weight(weight: u16) -> u64 {
    let weight = u64::from(weight);
    if weight <= 100 { weight.max(1) } else { 100 + (weight - 100) * 9900 / 900 }
}

/// Memory and swap together, as v1 has it, to swap alone. `None`: nothing is to be set.
pub(crate) fn swap(memory: Option<i64>, together: Option<i64>) -> Result<Option<i64>, Error> {
    let wrong = |reason: &str| Err(Error::value("memory.swap", reason.to_owned()));
    match (memory.unwrap_or(0), together.unwrap_or(0)) {
        // No limit on memory leaves none on swap.
        (-1, 0) | (_, -1) => Ok(Some(-1)),
        (_, 0) => Ok(None),
        (-1, together) => Ok(Some(together)),
        (0, _) => wrong("unable to set swap limit without memory limit"),
        (memory, together) if together < memory => wrong("memory+swap limit should be >= memory limit"),
        (memory, together) => Ok(Some(together - memory)),
    }
}

/// Quota and period as CPU time per second, in microseconds, in steps of 10 ms, as systemd rounds it. `None`:
/// no limit.
pub(crate) fn quota_per_second(quota: i64, period: u64) -> Option<u64> {
    const STEP: u64 = 10_000;
    let quota = u64::try_from(quota).ok().filter(|quota| *quota > 0)?;
    let each_second = u128::from(quota) * 1_000_000 / u128::from(period.max(1));
    let each_second = u64::try_from(each_second).unwrap_or(u64::MAX - STEP);
    Some(each_second.div_ceil(STEP).saturating_mul(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that runc 1.3.2 and later gives.
    #[test]
    fn shares_become_weights() {
        let pairs = [(0, 1), (1, 1), (2, 1), (3, 2), (10, 4), (100, 17), (512, 59), (1024, 100), (2048, 174)];
        for (shares, weight) in
            pairs.into_iter().chain([(10_000, 627), (262_143, 10_000), (u64::MAX, 10_000)])
        {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        assert!((2..262_200).map(cpu_weight).is_sorted());
    }

    #[test]
    fn block_weights_are_stretched() {
        for (weight, stretched) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000), (u16::MAX, 661_803)] {
            assert_eq!(io_weight(weight), stretched, "{weight}");
        }
    }

    /// systemd: up to 100 as it is, above that 100 and an eleventh of the rest.
    #[test]
    fn systemd_gives_bfq_the_weight_that_is_meant() {
        for weight in 1..=1000 {
            let told = unit_io_weight(weight);
            let bfq = if told <= 100 { told } else { 100 + (told - 100) * 900 / 9900 };
            assert_eq!(bfq, u64::from(weight));
        }
    }

    #[test]
    fn swap_is_what_is_above_memory() {
        let ok = [
            ((None, None), None),
            ((Some(100), None), None),
            ((Some(100), Some(0)), None),
            ((Some(-1), None), Some(-1)),
            ((Some(-1), Some(100)), Some(100)),
            ((Some(100), Some(-1)), Some(-1)),
            ((None, Some(-1)), Some(-1)),
            ((Some(100), Some(100)), Some(0)),
            ((Some(100), Some(300)), Some(200)),
        ];
        for ((memory, together), alone) in ok {
            assert_eq!(swap(memory, together).ok(), Some(alone), "{memory:?} {together:?}");
        }
        for (memory, together) in [(None, Some(100)), (Some(0), Some(100)), (Some(101), Some(100))] {
            assert!(swap(memory, together).is_err(), "{memory:?} {together:?}");
        }
    }

    #[test]
    fn quotas_are_rounded_up_to_hundredths_of_a_cpu() {
        for ((quota, period), each_second) in [
            ((50_000, 100_000), Some(500_000)),
            ((1000, 100_000), Some(10_000)),
            ((1, 1_000_000), Some(10_000)),
            ((33_333, 100_000), Some(340_000)),
            ((-1, 100_000), None),
            ((i64::MAX, 1), Some(u64::MAX / 10_000 * 10_000)),
        ] {
            assert_eq!(quota_per_second(quota, period), each_second, "{quota} {period}");
        }
    }
}
