//! JSON numbers compared as the numbers they are: 1 equals 1.0, and integers of 64 bits are never rounded.
//!
//! Integers beyond 64 bits are read as the nearest double by `serde_json`, and compared as that.

use std::cmp::Ordering;

use serde_json::Number;

/// The order of two numbers, exact: no integer is rounded to a double on the way.
#[must_use]
pub fn compare(a: &Number, b: &Number) -> Ordering {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => integer_with_float(a, float(b)),
        (None, Some(b)) => integer_with_float(b, float(a)).reverse(),
        (None, None) => float(a).total_cmp(&float(b)),
    }
}

fn float(number: &Number) -> f64 {
    // Always there: serde_json keeps integers of 64 bits and finite doubles, nothing else.
    number.as_f64().unwrap_or(f64::NAN)
}

/// The number as an integer, if it is one that 128 bits hold.
fn integer(number: &Number) -> Option<i128> {
    const TWO_TO_127: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < TWO_TO_127);
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and below 2^127")]
    integer.or_else(|| float.map(|float| float as i128))
}

/// Compares with a double that is no integer of 128 bits: it has a fraction (and is then below 2^53), or is huge.
fn integer_with_float(integer: i128, float: f64) -> Ordering {
    if float.fract() == 0.0 {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    #[expect(clippy::cast_possible_truncation, reason = "a double with a fraction is below 2^53")]
    let floor = float.floor() as i128;
    if integer <= floor { Ordering::Less } else { Ordering::Greater }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(a: &str, b: &str) -> Ordering {
        let number = |text| serde_json::from_str::<Number>(text).unwrap();
        compare(&number(a), &number(b))
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let table = [
            ("1", "1.0", Ordering::Equal),
            ("-0.0", "0", Ordering::Equal),
            ("1e3", "1000", Ordering::Equal),
            ("9007199254740993", "9007199254740992", Ordering::Greater),
            ("9007199254740993", "9007199254740992.0", Ordering::Greater),
            ("18446744073709551615", "18446744073709551614", Ordering::Greater),
            ("-9223372036854775808", "18446744073709551615", Ordering::Less),
            ("1", "1.5", Ordering::Less),
            ("2", "1.5", Ordering::Greater),
            ("-1", "-1.5", Ordering::Greater),
            ("-2", "-1.5", Ordering::Less),
            ("1e300", "18446744073709551615", Ordering::Greater),
            ("-1e300", "-9223372036854775808", Ordering::Less),
            ("1e300", "1e301", Ordering::Less),
            ("0.1", "0.2", Ordering::Less),
        ];
        for (a, b, expected) in table {
            assert_eq!(order(a, b), expected, "{a} with {b}");
            assert_eq!(order(b, a), expected.reverse(), "{b} with {a}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_compared_as_integers(a: i64, b: i64, c: u64) {
            prop_assert_eq!(compare(&a.into(), &b.into()), a.cmp(&b));
            prop_assert_eq!(compare(&a.into(), &c.into()), i128::from(a).cmp(&i128::from(c)));
        }

        #[test]
        fn an_integer_and_its_double_differ_by_the_rounding_and_nothing_else(a: i64, nudge in -2i64..=2) {
            let double = Number::from_f64(a as f64).unwrap();
            let other = a.saturating_add(nudge);
            prop_assert_eq!(compare(&other.into(), &double), i128::from(other).cmp(&(a as f64 as i128)));
        }

        #[test]
        fn doubles_are_compared_as_doubles(a in -1e18..1e18f64, b in -1e18..1e18f64) {
            let (x, y) = (Number::from_f64(a).unwrap(), Number::from_f64(b).unwrap());
            prop_assert_eq!(Some(compare(&x, &y)), a.partial_cmp(&b));
            prop_assert_eq!(compare(&x, &x), Ordering::Equal);
        }

        #[test]
        fn an_integer_and_a_small_double_are_compared_as_doubles(a in -(1i64 << 50)..(1i64 << 50), b in -1e6..1e6f64) {
            let double = Number::from_f64(b).unwrap();
            prop_assert_eq!(Some(compare(&a.into(), &double)), (a as f64).partial_cmp(&b));
        }
    }
}
