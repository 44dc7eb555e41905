//! Median, percentiles and spread of measured values.

/// Returns the middle value; of an even number of values, the upper of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// Returns the value that `hundredth` percent of the values do not exceed, or NaN if there are no values.
#[must_use]
pub fn percentile(values: &[f64], hundredth: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() * hundredth / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Returns the least and the greatest value.
#[must_use]
pub fn spread(values: &[f64]) -> [f64; 2] {
    [percentile(values, 0), percentile(values, 100)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_and_the_spread_is_the_extremes() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&values), 3.0);
        assert_eq!(spread(&values), [1.0, 5.0]);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_percentile_has_that_share_of_values_below_it() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), 500.0);
        assert_eq!(percentile(&values, 99), 990.0);
    }
}
