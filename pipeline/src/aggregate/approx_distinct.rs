//! `approx_distinct(x)`: how many different values, exactly while there are few, by HyperLogLog beyond.
//!
//! Up to 256 different hashes of 64 bits are kept as they are. With the 257th they become 4096 registers; each keeps
//! the longest run of zeros among the hashes that fall to it. Which form it has depends on how many different hashes
//! there were and not on their order, so equal sets make equal sketches.
//!
//! The estimate is Ertl's («New cardinality estimation algorithms for HyperLogLog sketches», 2017), which needs no
//! table of corrections: `m² / (2 ln 2 · (m·σ(C₀/m) + Σ Cₖ·2⁻ᵏ))`, with `Cₖ` the number of registers that hold `k`
//! and `σ(x) = x + Σ x^(2ᵏ)·2^(k−1)`. It is computed in integers with 64 bits after the point: no processor's
//! floating point can change a result. The standard error is 1.04 / √4096 = 1.6 %.
//!
//! Values are hashed by xxh3 with a fixed seed for each type; decimals without their trailing zeros, so that 1.5
//! and 1.50 are one number whatever the scale of the field.

use crate::value::Value;
use ethnum::U256;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hash bits that choose a register.
const INDEX_BITS: u32 = 12;
/// How many registers.
const REGISTERS: usize = 1 << INDEX_BITS;
/// The longest run of zeros plus one, in the bits that do not choose the register.
const RANK_MAX: usize = (u64::BITS - INDEX_BITS) as usize + 1;
/// How many hashes are kept as they are.
const FEW_MAX: usize = 256;
/// 2 ln 2, with 64 bits after the point.
const TWO_LN_TWO: u128 = 25_572_617_290_405_311_320;
/// Fixed: another seed is another estimate. The type's number is added.
const SEED: u64 = 0x6361_7564_616c;

/// The different values seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Sketch {
    /// All hashes, sorted.
    Few(Vec<u64>),
    /// The registers.
    Many(Box<[u8]>),
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch::Few(Vec::new())
    }
}

impl Sketch {
    /// Memory outside of the accumulator: the registers, which take more than the hashes.
    pub const HEAP_BYTES_MAX: usize = REGISTERS;

    /// Takes a value with this scale, unless it is null.
    pub fn insert(&mut self, value: &Value, scale: u8) {
        if let Some(hash) = hash(value, scale) {
            self.insert_hash(hash);
        }
    }

    /// Takes the values of another one.
    pub fn merge(&mut self, other: &Sketch) {
        match (&mut *self, other) {
            (_, Sketch::Few(hashes)) => hashes.iter().for_each(|hash| self.insert_hash(*hash)),
            (Sketch::Many(registers), Sketch::Many(others)) => keep_longest(registers, others),
            (Sketch::Few(hashes), Sketch::Many(others)) => {
                let mut registers = others.clone();
                hashes.iter().for_each(|hash| note(&mut registers, *hash));
                *self = Sketch::Many(registers);
            }
        }
    }

    /// How many different values: exact for few (two hashes being equal by chance is one in 10¹⁴), else nearly.
    pub fn estimate(&self) -> u64 {
        match self {
            Sketch::Few(hashes) => hashes.len() as u64,
            Sketch::Many(registers) => estimate(registers),
        }
    }

    fn insert_hash(&mut self, hash: u64) {
        match self {
            Sketch::Many(registers) => note(registers, hash),
            Sketch::Few(hashes) => {
                let Err(place) = hashes.binary_search(&hash) else { return };
                hashes.insert(place, hash);
                if hashes.len() > FEW_MAX {
                    let mut registers = vec![0; REGISTERS].into_boxed_slice();
                    hashes.iter().for_each(|hash| note(&mut registers, *hash));
                    *self = Sketch::Many(registers);
                }
            }
        }
    }
}

/// The hash of a value in its canonical form; `None` for null.
fn hash(value: &Value, scale: u8) -> Option<u64> {
    match value {
        Value::Null => None,
        Value::Bool(b) => Some(xxh3_64_with_seed(&[u8::from(*b)], SEED + 1)),
        Value::Decimal(scaled) => Some(hash_decimal(*scaled, scale)),
        Value::Text(text) => Some(xxh3_64_with_seed(text.as_bytes(), SEED + 3)),
        Value::Time(us) => Some(xxh3_64_with_seed(&us.to_le_bytes(), SEED + 4)),
    }
}

fn hash_decimal(mut scaled: i64, mut scale: u8) -> u64 {
    while scale > 0 && scaled % 10 == 0 {
        (scaled, scale) = (scaled / 10, scale - 1);
    }
    let mut bytes = [0; 9];
    bytes[..8].copy_from_slice(&scaled.to_le_bytes());
    bytes[8] = scale;
    xxh3_64_with_seed(&bytes, SEED + 2)
}

/// Notes a hash in its register: its first bits choose it, the zeros that follow are counted.
fn note(registers: &mut [u8], hash: u64) {
    let index = (hash >> (u64::BITS - INDEX_BITS)) as usize;
    let rest = (hash << INDEX_BITS) | 1 << (INDEX_BITS - 1);
    registers[index] = registers[index].max(rest.leading_zeros() as u8 + 1);
}

fn keep_longest(registers: &mut [u8], others: &[u8]) {
    for (register, other) in registers.iter_mut().zip(others) {
        *register = (*register).max(*other);
    }
}

fn estimate(registers: &[u8]) -> u64 {
    let mut holding = [0u128; RANK_MAX + 1];
    registers.iter().for_each(|rank| holding[usize::from(*rank).min(RANK_MAX)] += 1);
    let m = REGISTERS as u128;
    let runs: u128 = (1..=RANK_MAX).map(|rank| holding[rank] << (64 - rank)).sum();
    let divisor: U256 = U256::new(m * sigma((holding[0] << 64) / m) + runs) * U256::new(TWO_LN_TWO);
    let numerator: U256 = U256::new(m * m) << 128u32;
    let half: U256 = divisor >> 1u32;
    ((numerator + half) / divisor).as_u64()
}

/// `σ(x)` for `0 ≤ x < 1`, with 64 bits after the point; the powers of x run out of bits.
fn sigma(x: u128) -> u128 {
    let (mut power, mut weight, mut sum) = (x, 0, x);
    while power > 0 {
        power = (power * power) >> 64;
        sum += power << weight;
        weight += 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: impl IntoIterator<Item = i64>) -> Sketch {
        let mut sketch = Sketch::default();
        values.into_iter().for_each(|v| sketch.insert(&Value::Decimal(v), 0));
        sketch
    }

    #[test]
    fn few_values_are_counted_exactly() {
        for n in [0, 1, 255, 256] {
            assert_eq!(sketch((0..n).chain(0..n)).estimate(), n as u64);
        }
        assert!(matches!(sketch(0..257), Sketch::Many(_)));
    }

    #[test]
    fn many_values_are_counted_nearly() {
        for n in [257i64, 1_000, 5_000, 20_000, 100_000, 300_000] {
            let estimate = sketch(0..n).estimate() as i64;
            assert!((estimate - n).abs() * 100 <= n * 5, "{n} counted as {estimate}");
        }
    }

    /// The estimate is part of what a saved state means: a change here changes results.
    #[test]
    fn estimates_are_the_same_everywhere() {
        assert_eq!([1_000, 50_000].map(|n| sketch(0..n).estimate()), [997, 50_221]);
    }

    #[test]
    fn the_same_number_hashes_alike_at_any_scale() {
        assert_eq!(hash(&Value::Decimal(15), 1), hash(&Value::Decimal(1500), 3));
        assert_eq!(hash(&Value::Decimal(0), 0), hash(&Value::Decimal(0), 18));
        assert_ne!(hash(&Value::Decimal(15), 1), hash(&Value::Decimal(15), 0));
        assert_ne!(hash(&Value::Decimal(10), 0), hash(&Value::Decimal(1), 0));
        assert_ne!(hash(&Value::Text("1".into()), 0), hash(&Value::Decimal(1), 0));
    }

    #[test]
    fn the_form_depends_on_the_values_only() {
        let whole = sketch(0..400);
        for cut in [1, 200, 399] {
            for (mut first, second) in [(sketch(0..cut), sketch(cut..400)), (sketch(cut..400), sketch(0..cut))] {
                first.merge(&second);
                assert_eq!(first, whole, "cut at {cut}");
            }
        }
    }
}
