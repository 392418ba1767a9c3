//! Scale and offset, computed so that 254 at scale 0.1 is 25.4 and not 25.400000000000002.
//!
//! 0.1 has no exact binary form: multiplying by it errs twice. So where the scale is a fraction that people
//! mean exactly, it is kept as one, and a value costs one correctly rounded division:
//! 1. `1/scale` within 1e-9 (relative) of an integer `d`: `raw / d` (0.1, 0.001, 0.25, 0.3333333333);
//! 2. else, `scale × 10^k` within 1e-12 of an integer `n` for a `k` up to 9: `raw × n / 10^k` (0.3, 2.5);
//! 3. else `raw × scale`.
//!
//! The offset is added before the division where it is a whole number of its steps (254 at 0.1 with offset
//! -40 is (254 - 400) / 10), else after it. A 32-bit or 64-bit integer beyond 2^53 loses its last digits.

/// The largest integer up to which a binary64 counts without gaps.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// `engineering = raw × scale + offset`, and back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    scale: f64,
    offset: f64,
    multiplier: f64,
    divisor: f64,
    inner: f64,
    outer: f64,
}

/// Equal when the settings are; the rest follows from them.
impl PartialEq for Linear {
    fn eq(&self, other: &Self) -> bool {
        self.scale == other.scale && self.offset == other.offset
    }
}

impl Linear {
    /// `scale` is finite and not zero, `offset` finite.
    pub(super) fn new(scale: f64, offset: f64) -> Self {
        let (multiplier, divisor) = fraction(scale);
        let steps = offset * divisor;
        let before = near_integer(steps, 1e-12).filter(|_| multiplier.fract() == 0.0);
        let (inner, outer) = before.map_or((0.0, offset), |steps| (steps, 0.0));
        Self { scale, offset, multiplier, divisor, inner, outer }
    }

    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    pub(super) fn offset(&self) -> f64 {
        self.offset
    }

    /// Whether values are taken as they are.
    #[expect(clippy::float_cmp, reason = "settings, not results")]
    pub(super) fn is_identity(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }

    /// From the device's number to engineering units; not finite when the result isn't.
    pub(super) fn apply(&self, raw: f64) -> f64 {
        let exact = (raw * self.multiplier + self.inner) / self.divisor + self.outer;
        // The product may overflow where the result wouldn't.
        if exact.is_finite() { exact } else { raw * self.scale + self.offset }
    }

    /// From engineering units to the device's number; not finite when the result isn't.
    pub(super) fn invert(&self, value: f64) -> f64 {
        let exact = ((value - self.outer) * self.divisor - self.inner) / self.multiplier;
        if exact.is_finite() { exact } else { (value - self.offset) / self.scale }
    }
}

/// The scale as a fraction; `(scale, 1)` when it is none that people would mean.
fn fraction(scale: f64) -> (f64, f64) {
    if let Some(divisor) = near_integer(scale.recip(), 1e-9) {
        return if divisor < 0.0 { (-1.0, -divisor) } else { (1.0, divisor) };
    }
    let decimal = (0..=9).map(|digits| 10_f64.powi(digits)).find_map(|power| {
        let multiplier = near_integer(scale * power, 1e-12)?;
        Some((multiplier, power))
    });
    decimal.unwrap_or((scale, 1.0))
}

/// The integer other than zero that a number is within `tolerance` of, relative; zero is itself.
fn near_integer(number: f64, tolerance: f64) -> Option<f64> {
    let integer = number.round();
    let near = (number - integer).abs() <= tolerance * integer.abs();
    (near && integer.abs() < EXACT).then_some(integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scale: f64, offset: f64, raw: f64, expected: &str) {
        let linear = Linear::new(scale, offset);
        let value = linear.apply(raw);
        assert_eq!(value.to_string(), expected, "{raw} × {scale} + {offset}");
        assert_eq!(linear.invert(value).round().to_string(), raw.to_string(), "{value} back");
    }

    #[test]
    fn a_decimal_scale_gives_the_digits_that_people_expect() {
        check(0.1, 0.0, 254.0, "25.4");
        check(0.1, 0.0, 3.0, "0.3");
        check(0.001, 0.0, -1001.0, "-1.001");
        check(-0.1, 0.0, 254.0, "-25.4");
        check(0.3, 0.0, 3.0, "0.9");
        check(2.5, 0.0, 3.0, "7.5");
        check(1.1, 0.0, 3.0, "3.3");
        check(10.0, 0.0, 3.0, "30");
        check(0.333_333_333_3, 0.0, 3.0, "1");
    }

    #[test]
    fn an_offset_of_whole_steps_is_exact_too() {
        check(0.1, -40.0, 254.0, "-14.6");
        check(0.1, -273.1, 3000.0, "26.9");
        check(1.0, 0.5, 1.0, "1.5");
        check(0.01, -327.68, 65535.0, "327.67");
    }

    #[test]
    fn a_scale_that_is_no_fraction_is_multiplied() {
        let linear = Linear::new(std::f64::consts::PI, 1.0);
        assert!((linear.apply(2.0) - (2.0 * std::f64::consts::PI + 1.0)).abs() < 1e-12);
    }

    #[test]
    fn extremes_overflow_only_where_the_result_does() {
        assert!(Linear::new(0.3, 0.0).apply(f64::MAX).is_finite());
        assert!(Linear::new(0.1, 0.0).invert(1e307).is_finite());
        assert!(!Linear::new(10.0, 0.0).apply(f64::MAX).is_finite());
        assert!(Linear::new(f64::MIN_POSITIVE, 0.0).apply(1.0) > 0.0);
        assert!(Linear::new(f64::MAX, 0.0).apply(1.0).is_finite());
    }
}
