//! Random records, shuffled, split and merged by random trees, against a naive recomputation.
//!
//! Each seed draws records with nulls, repeats, ties and values at the ends of the range. For every aggregate the
//! accumulator must be the same whichever way the records took, and the cells those of [`naive`], which sorts, counts
//! in sets and computes with integers of any size.

use super::{Acc, Aggregate, id_text};
use crate::record::{Id, Offset, Origin, PartitionIndex, Record};
use crate::time::EventTime;
use crate::value::{Cell, Field, FieldType, SCALED_MAX, Value};
use num_bigint::BigInt;
use std::collections::BTreeSet;

const FIELDS: [(&str, FieldType); 6] = [
    ("whole", FieldType::Decimal(0)),
    ("cents", FieldType::Decimal(2)),
    ("fine", FieldType::Decimal(18)),
    ("text", FieldType::Text),
    ("flag", FieldType::Bool),
    ("at", FieldType::Time),
];

/// A xorshift generator: the tests' only source of chance.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn decimal(&mut self) -> i64 {
        match self.below(6) {
            0 => [SCALED_MAX - 1, 1 - SCALED_MAX][self.below(2) as usize],
            1 => self.next() as i64 >> 2,
            2 => self.below(2_000_000) as i64 - 1_000_000,
            _ => self.below(9) as i64 - 4,
        }
    }

    fn value(&mut self, field_type: FieldType) -> Value {
        if self.below(5) == 0 {
            return Value::Null;
        }
        match field_type {
            FieldType::Bool => Value::Bool(self.below(2) == 0),
            FieldType::Decimal(_) => Value::Decimal(self.decimal()),
            FieldType::Text if self.below(4) == 0 => {
                Value::Text(format!("a text too long to sit in its slot {}", self.below(50)).into())
            }
            FieldType::Text => Value::Text(format!("t{}", self.below(400)).into()),
            FieldType::Time => Value::Time(self.below(1_000) as i64),
        }
    }

    fn record(&mut self, number: usize) -> Record {
        let origin =
            Origin { partition: PartitionIndex(number as u32 % 3), offset: Offset(number as u64), element: number as u32 % 2 };
        let id =
            if self.below(2) == 0 { Id::Origin(origin) } else { Id::Given(format!("{:x}-{number}", self.below(1 << 40)).into()) };
        let values = FIELDS.iter().map(|(_, field_type)| self.value(*field_type)).collect();
        Record { event_time: EventTime(self.below(40) as i64), origin, id, content: 0, passes: true, values }
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).rev().for_each(|at| items.swap(at, self.below(at as u64 + 1) as usize));
    }
}

fn fields() -> Vec<Field> {
    FIELDS.iter().map(|(name, field_type)| Field { name: (*name).into(), field_type: *field_type }).collect()
}

/// Every aggregate over every field it takes.
fn aggregates() -> Vec<String> {
    let mut texts = vec!["count()".to_owned(), "ids(5)".into(), "ids(300)".into()];
    for (name, field_type) in FIELDS {
        for any in
            ["count(X)", "min(X)", "max(X)", "first(X)", "last(X)", "distinct(X, max: 40)", "approx_distinct(X)", "top_k(X, 7)"]
        {
            texts.push(any.replace('X', name));
        }
        texts.push(format!("arg_min({name}, text)"));
        texts.push(format!("arg_max({name}, cents)"));
        if matches!(field_type, FieldType::Decimal(_)) {
            texts.extend(["sum", "mean", "variance", "stddev"].map(|of| format!("{of}({name})")));
            texts.extend(["0", "0.25", "0.5", "0.999"].map(|q| format!("approx_quantile({name}, {q})")));
        }
    }
    texts
}

/// The accumulator of records in random order, in random parts, merged in random order.
fn scattered(aggregate: &Aggregate, records: &[Record], chance: &mut Chance) -> Acc {
    let mut shuffled: Vec<&Record> = records.iter().collect();
    chance.shuffle(&mut shuffled);
    let mut parts = vec![aggregate.empty(); 1 + chance.below(9) as usize];
    for record in shuffled {
        let part = chance.below(parts.len() as u64) as usize;
        aggregate.insert(&mut parts[part], record);
    }
    while parts.len() > 1 {
        let other = parts.swap_remove(chance.below(parts.len() as u64) as usize);
        let at = chance.below(parts.len() as u64) as usize;
        aggregate.merge(&mut parts[at], &other);
    }
    parts.remove(0)
}

#[test]
fn any_order_split_and_merge_tree_is_the_naive_result() {
    for seed in 1..=60u64 {
        println!("seed {seed}");
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let size = [0, 1, 2, 3, 12, 80, 700][chance.below(7) as usize];
        let records: Vec<Record> = (0..size).map(|number| chance.record(number)).collect();
        for text in aggregates() {
            let aggregate = Aggregate::parse(&text, &fields()).unwrap();
            let mut whole = aggregate.empty();
            records.iter().for_each(|record| aggregate.insert(&mut whole, record));
            for _ in 0..2 {
                assert_eq!(scattered(&aggregate, &records, &mut chance), whole, "{text} of {size} records, seed {seed}");
            }
            let mut cells = Vec::new();
            aggregate.finish(&whole, &mut cells);
            assert_eq!(cells.len(), aggregate.columns("c").len(), "{text}");
            check(&text, &records, &cells);
        }
    }
}

/// Compares cells with the naive ones: equal, or near for what is approximate.
fn check(text: &str, records: &[Record], cells: &[Cell]) {
    let expected = naive(text, records);
    let number = |cell: &Cell| match cell {
        Cell::Integer(i) => i128::from(*i),
        Cell::Decimal { unscaled, .. } => *unscaled,
        other => panic!("{text} gives {other:?}"),
    };
    if text.starts_with("approx_") && expected != [Cell::Null] {
        let (found, exact) = (number(&cells[0]), number(&expected[0]));
        let part = if text.starts_with("approx_quantile") || exact <= 256 { 256 } else { 15 };
        let near = (found - exact).abs() <= exact.abs() / part;
        assert!(near && (exact.abs() >= 256 || found == exact), "{text}: {found}, exactly {exact}");
    } else {
        assert_eq!(cells, expected, "{text}");
    }
}

/// What the text says, computed the obvious way.
fn naive(text: &str, records: &[Record]) -> Vec<Cell> {
    let (name, inner) = text.strip_suffix(')').unwrap().split_once('(').unwrap();
    let arguments: Vec<&str> = inner.split(", ").collect();
    let slot = |at: usize| FIELDS.iter().position(|(name, _)| *name == arguments[at]).unwrap_or_default();
    let (x, x_type) = (slot(0), FIELDS[slot(0)].1);
    let mut by_time: Vec<&Record> = records.iter().collect();
    by_time.sort_by_key(|record| (record.event_time, record.id.clone()));
    let present: Vec<&Record> = by_time.iter().copied().filter(|record| record.values[x] != Value::Null).collect();
    let mut sorted: Vec<&Value> = present.iter().map(|record| &record.values[x]).collect();
    sorted.sort();
    let different = sorted.iter().collect::<BTreeSet<_>>().len();
    let shown = |value: Option<&Value>, of: usize| Cell::of(value.unwrap_or(&Value::Null), FIELDS[of].1);
    let integer = |n: usize| Cell::Integer(n as i64);
    let scale = if let FieldType::Decimal(scale) = x_type { scale } else { 0 };
    match name {
        "count" if inner.is_empty() => vec![integer(records.len())],
        "count" => vec![integer(present.len())],
        "sum" | "mean" | "variance" | "stddev" => vec![naive_moment(name, &sorted, u32::from(scale))],
        "min" => vec![shown(sorted.first().copied(), x)],
        "max" => vec![shown(sorted.last().copied(), x)],
        "first" => vec![shown(present.first().map(|record| &record.values[x]), x)],
        "last" => vec![shown(present.last().map(|record| &record.values[x]), x)],
        "arg_min" | "arg_max" => {
            let extreme = if name == "arg_min" { sorted.first() } else { sorted.last() };
            let winner = present.iter().find(|record| Some(&&record.values[x]) == extreme);
            vec![shown(winner.map(|record| &record.values[slot(1)]), slot(1))]
        }
        "distinct" if different > 40 => vec![Cell::Null, Cell::Bool(true)],
        "distinct" => vec![integer(different), Cell::Bool(false)],
        "approx_distinct" => vec![integer(different)],
        "approx_quantile" => {
            let thousandths = arguments[1].parse::<f64>().map(|q| (q * 1000.0) as usize).unwrap();
            let rank = (sorted.len() * thousandths).div_ceil(1000).max(1);
            vec![shown(sorted.get(rank - 1).copied(), x)]
        }
        "top_k" => vec![Cell::List(sorted.iter().rev().take(7).map(|value| shown(Some(value), x)).collect())],
        "ids" => {
            let ids = by_time.iter().take(inner.parse().unwrap()).map(|record| Cell::Text(id_text(&record.id)));
            vec![Cell::List(ids.collect()), integer(records.len())]
        }
        other => panic!("no naive {other}"),
    }
}

fn naive_moment(name: &str, values: &[&Value], scale: u32) -> Cell {
    let scaled: Vec<BigInt> =
        values.iter().map(|value| if let Value::Decimal(d) = value { BigInt::from(*d) } else { panic!("{value:?}") }).collect();
    let (n, sum) = (BigInt::from(scaled.len()), scaled.iter().sum::<BigInt>());
    let ten = |exponent: u32| BigInt::from(10).pow(exponent);
    let mean_scale = (scale + 3).min(18);
    let needed = if name == "variance" || name == "stddev" { 2 } else { 1 };
    if scaled.len() < needed {
        return Cell::Null;
    }
    // Σ(x − mean)² / (n − 1) with every x multiplied by n, so that the mean is whole.
    let deviations: BigInt = scaled.iter().map(|x| (x * &n - &sum).pow(2)).sum();
    let divisor = &n * &n * (&n - 1);
    let (unscaled, scale) = match name {
        "sum" => (sum, scale),
        "mean" => (half_even(&(sum * ten(mean_scale - scale)), &n), mean_scale),
        "variance" => {
            let to = (2 * scale + 3).min(18);
            (half_even(&(deviations * ten(to)), &(divisor * ten(2 * scale))), to)
        }
        _ => {
            let square = deviations * ten(2 * (mean_scale - scale));
            let whole: BigInt = &square / &divisor;
            let root = whole.sqrt();
            // The next number is nearer iff (root + ½)² is less than the square; of equally near ones, the even.
            let twice: BigInt = &root * 2 + 1;
            let middle = twice.pow(2) * &divisor;
            let square = square * 4;
            let up = middle < square || (middle == square && root.bit(0));
            (root + u8::from(up), mean_scale)
        }
    };
    i128::try_from(unscaled).map_or(Cell::Null, |unscaled| Cell::Decimal { unscaled, scale: scale as u8 })
}

/// The whole number nearest to a fraction: twice the fraction plus one, halved downwards, less the odd ties.
fn half_even(numerator: &BigInt, divisor: &BigInt) -> BigInt {
    let floor = |n: BigInt, d: &BigInt| {
        let quotient = &n / d;
        if &quotient * d > n { quotient - 1 } else { quotient }
    };
    let up = floor(numerator * 2 + divisor, &(divisor * 2));
    let tie = (&up * 2 - 1) * divisor == numerator * 2;
    if tie && up.bit(0) { up - 1 } else { up }
}
