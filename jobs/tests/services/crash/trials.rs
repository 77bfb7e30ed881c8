//! How much is tried, and the chance that decides when.

use std::time::Duration;

/// What a row is run with: `CAUDAL_TRIALS` lives from `CAUDAL_SEED`, a short cut without them.
#[derive(Clone, Copy, Debug)]
pub struct Trials {
    /// Lives that end at a random moment.
    pub kills: u64,
    /// Of them, those that are stopped, taken over and go on.
    pub takeovers: u64,
    /// How long these are stopped.
    pub pause: Duration,
    pub seed: u64,
}

impl Trials {
    pub fn asked() -> Trials {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
        let seed = number("CAUDAL_SEED").unwrap_or(1);
        println!("seed {seed}");
        match number("CAUDAL_TRIALS") {
            Some(kills) => Trials { kills, takeovers: kills.div_ceil(10), pause: Duration::from_secs(60), seed },
            None => Trials { kills: 4, takeovers: 1, pause: Duration::from_secs(3), seed },
        }
    }

    /// Whether the nth life is stopped and not killed: they are spread over the whole.
    pub fn is_takeover(&self, n: u64) -> bool {
        self.takeovers > 0 && n % (self.kills / self.takeovers).max(1) == 1
    }
}

/// Chance that a seed decides.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % n
    }
}

#[test]
fn stops_are_spread_over_the_lives() {
    let of = |kills, takeovers| {
        let trials = Trials { kills, takeovers, pause: Duration::ZERO, seed: 1 };
        (0..kills).filter(|n| trials.is_takeover(*n)).collect::<Vec<_>>()
    };
    assert_eq!((of(4, 1), of(30, 3), of(4, 0)), (vec![1], vec![1, 11, 21], vec![]));
}
