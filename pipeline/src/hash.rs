//! Hashing that never changes: the same key hashes alike in every process, release and machine.
//!
//! Routing between workers, saved state and remembered ids depend on it. The standard library's maps are refused
//! in this crate (`clippy.toml`): their order differs from run to run.

/// A hash map with a fixed seed: for look-ups. Where order can reach a result, use a `BTreeMap` or sort.
pub type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;

/// A hash set with a fixed seed.
pub type Set<K> = hashbrown::HashSet<K, foldhash::fast::FixedState>;

/// A map keyed by hashes, which are not hashed again.
pub type HashedMap<V> = hashbrown::HashMap<[u64; 2], V, LowBits>;

/// Where a key lives: `route % workers` is its worker, on any number of workers.
pub fn route(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// Takes the low half of an already hashed key as its hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct LowBits;

impl std::hash::BuildHasher for LowBits {
    type Hasher = LowBitsHasher;
    fn build_hasher(&self) -> LowBitsHasher {
        LowBitsHasher(0)
    }
}

/// See [`LowBits`].
#[derive(Clone, Copy, Debug)]
pub struct LowBitsHasher(u64);

impl std::hash::Hasher for LowBitsHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 ^= word.rotate_left(self.0 as u32 & 1);
    }
    fn write_usize(&mut self, _length: usize) {}
}
