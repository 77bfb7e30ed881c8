//! Decimal arithmetic against what 256 bits say, on random operands of random scales.
//!
//! The oracle does not round: it states when a result is the right one. For a quotient `q` of `n / d` that is
//! `2·|n − q·d| ≤ |d|`, with `q` even where they are equal; an overflow is right where no such `q` is below 2^62.

use super::super::{Expr, Scope};
use crate::value::{FieldType, SCALED_MAX, Value};
use ethnum::I256;

const SEED: u64 = 0x5EED_CA0D;
const CASES: u32 = 10_000;

/// Marsaglia's xorshift, 64 bits.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A scaled value of any magnitude below 2^62: round powers, ends and small numbers are frequent.
    fn scaled(&mut self) -> i64 {
        let magnitude = match self.below(8) {
            0 => self.below(4) as i64,
            1 => SCALED_MAX - 1 - self.below(3) as i64,
            2 => 10_i64.pow(self.below(19) as u32),
            3 => 5 * 10_i64.pow(self.below(18) as u32),
            _ => {
                let bits = self.below(62);
                (self.next() & ((1 << 62) - 1)) as i64 >> bits
            }
        };
        if self.below(2) == 0 { magnitude } else { -magnitude }
    }
}

fn ten(power: u8) -> I256 {
    I256::from(10).pow(u32::from(power))
}

/// Whether `q` is `n / d` rounded half to even, or, for `None`, whether that does not fit.
fn is_quotient(q: Option<i64>, n: I256, d: I256) -> bool {
    match q {
        Some(q) => {
            let twice_off = (n - I256::from(q) * d).abs() * I256::from(2);
            twice_off < d.abs() || (twice_off == d.abs() && q % 2 == 0)
        }
        None => n.abs() * I256::from(2) >= (I256::from(SCALED_MAX) * I256::from(2) - I256::from(1)) * d.abs(),
    }
}

fn computed(text: &str, (a, a_scale): (i64, u8), (b, b_scale): (i64, u8)) -> (Option<FieldType>, Option<Value>) {
    let scope = Scope { names: vec![("a".into(), FieldType::Decimal(a_scale)), ("b".into(), FieldType::Decimal(b_scale))] };
    let expr = Expr::compile(text, &scope).unwrap();
    (expr.result, expr.eval(&[Value::Decimal(a), Value::Decimal(b)]).ok())
}

/// What the sum, product or quotient should be as a fraction at the result's scale.
fn fraction(operator: &str, (a, a_scale): (i64, u8), (b, b_scale): (i64, u8), scale: u8) -> (I256, I256) {
    let (wide_a, wide_b) = (I256::from(a), I256::from(b));
    let (common_a, common_b) = (wide_a * ten(18 - a_scale), wide_b * ten(18 - b_scale));
    match operator {
        "a + b" => (common_a + common_b, ten(18 - scale)),
        "a - b" => (common_a - common_b, ten(18 - scale)),
        "a % b" => (common_a % common_b, ten(18 - scale)),
        "a * b" => (wide_a * wide_b * ten(scale), ten(a_scale) * ten(b_scale)),
        _ => (wide_a * ten(scale) * ten(b_scale), wide_b * ten(a_scale)),
    }
}

#[test]
fn arithmetic_is_exact_or_refused() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    for case in 0..CASES {
        let a = (random.scaled(), random.below(19) as u8);
        let b = (random.scaled(), random.below(19) as u8);
        let text = ["a + b", "a - b", "a * b", "a / b", "a % b"][random.below(5) as usize];
        let (result, value) = computed(text, a, b);
        let Some(FieldType::Decimal(scale)) = result else { panic!("{text}: {result:?}") };
        let expected_scale = match text {
            "a * b" => (a.1 + b.1).min(18),
            "a / b" => (a.1.max(b.1) + 6).min(18),
            _ => a.1.max(b.1),
        };
        assert_eq!(scale, expected_scale, "{text} {a:?} {b:?}");
        let unscaled = value.map(|value| if let Value::Decimal(v) = value { v } else { panic!("{value:?}") });
        if b.0 == 0 && matches!(text, "a / b" | "a % b") {
            assert_eq!(unscaled, None, "case {case}: {text} {a:?} {b:?}");
            continue;
        }
        assert!(unscaled.is_none_or(|v| v.abs() < SCALED_MAX), "case {case}: {text} {a:?} {b:?}");
        let (n, d) = fraction(text, a, b, scale);
        assert!(is_quotient(unscaled, n, d), "case {case}: {text} {a:?} {b:?} = {unscaled:?}");
    }
}

#[test]
fn comparisons_agree_with_256_bits_also_for_constants() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED ^ 1);
    for case in 0..CASES {
        let a = (random.scaled(), random.below(19) as u8);
        let mut b = (random.scaled(), random.below(19) as u8);
        if random.below(3) == 0 {
            b = nearby(a, b.1, &mut random);
        }
        let order = (I256::from(a.0) * ten(18 - a.1)).cmp(&(I256::from(b.0) * ten(18 - b.1)));
        let literal = crate::value::decimal_text(i128::from(b.0), b.1);
        for (operator, truth) in [
            ("<", order.is_lt()),
            ("<=", order.is_le()),
            ("==", order.is_eq()),
            ("!=", order.is_ne()),
            (">", order.is_gt()),
            (">=", order.is_ge()),
        ] {
            let expected = Some(Value::Bool(truth));
            assert_eq!(computed(&format!("a {operator} b"), a, b).1, expected, "case {case}: {a:?} {operator} {b:?}");
            assert_eq!(computed(&format!("a {operator} {literal}"), a, b).1, expected, "case {case}: {a:?} {operator} {literal}");
        }
        assert_eq!(
            computed(&format!("a in [1, {literal}]"), (a.0, a.1), b).1,
            Some(Value::Bool(order.is_eq() || I256::from(a.0) == ten(a.1))),
            "case {case}"
        );
    }
}

/// Nearly the same number at another scale, where that exists.
fn nearby((v, from): (i64, u8), to: u8, random: &mut Random) -> (i64, u8) {
    let moved = if to >= from {
        i128::from(v) * 10_i128.pow(u32::from(to - from))
    } else {
        i128::from(v) / 10_i128.pow(u32::from(from - to))
    };
    let nudged = moved + i128::from(random.below(3)) - 1;
    match i64::try_from(nudged) {
        Ok(nudged) if nudged.abs() < SCALED_MAX => (nudged, to),
        _ => (v, from),
    }
}
