//! What becomes of a message, drawn before anything is written: the first draws of its own random stream.

use super::config::{Delay, Profile, Share};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How far back a repeated message may lie, in messages of the same source.
const REPEAT_WITHIN: u64 = 40;

/// What was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A right event, in order or a little behind by so many microseconds.
    Valid { behind_us: i64 },
    /// A right event that comes so long after it happened.
    Late { by_us: i64 },
    /// A wrong event; which of the profile's faults.
    Malformed { fault: usize },
    /// The message so many places earlier, or the nearest right one before it.
    Repeat { back: u64 },
}

/// The random stream of one message: the same for ever, and independent of every other message's.
pub(super) fn stream(seed: u64, source: usize, index: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(source as u64).to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    random.set_stream(index);
    random
}

/// Draws a fate; always takes the same number of draws, so that what follows does not depend on the shares.
pub(super) fn draw(profile: &Profile, random: &mut ChaCha8Rng) -> Fate {
    let (class, size, disorder) = (random.next_u64(), random.next_u64(), random.next_u64());
    let mut threshold = 0;
    let mut falls = |share: Share| {
        threshold += u64::from(share.0);
        below(class, u64::from(Share::ONE.0)) < threshold
    };
    if falls(profile.duplicates) {
        return Fate::Repeat { back: 1 + below(size, REPEAT_WITHIN) };
    }
    if let Some(malformed) = profile.malformed.as_ref().filter(|m| falls(m.share)) {
        return Fate::Malformed { fault: below(size, malformed.faults.len() as u64) as usize };
    }
    if let Some(late) = profile.late.filter(|l| falls(l.share)) {
        return Fate::Late { by_us: delay(late, size) };
    }
    match profile.disorder {
        Some(d) if below(disorder, u64::from(Share::ONE.0)) < u64::from(d.share.0) => Fate::Valid { behind_us: delay(d, size) },
        _ => Fate::Valid { behind_us: 0 },
    }
}

fn delay(delay: Delay, random: u64) -> i64 {
    delay.least_us + below(random, (delay.most_us - delay.least_us) as u64 + 1) as i64
}

/// A number below `n`, by the high bits of a product: no division, no platform in it.
pub(super) fn below(random: u64, n: u64) -> u64 {
    ((u128::from(random) * u128::from(n)) >> 64) as u64
}
