//! Space set aside while there is some, so that a job on a full disk can still save its state and end in order.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// How much is set aside.
pub const RESERVE_BYTES: u64 = 16 << 20;

/// Makes sure that the reserve exists in full.
pub(super) fn fill(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|m| m.len() == RESERVE_BYTES) {
        return Ok(());
    }
    let written = write_noise(path);
    if written.is_err() {
        // Half a reserve on a full disk helps nobody.
        let _ = fs::remove_file(path);
    }
    written
}

/// Gives the space back; whether there was any to give.
pub(super) fn release(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Noise and not zeros: a file system that compresses or leaves holes would reserve nothing.
fn write_noise(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0u8; 1 << 20];
    for _ in 0..RESERVE_BYTES >> 20 {
        for word in block.chunks_exact_mut(8) {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            word.copy_from_slice(&noise.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all()
}
