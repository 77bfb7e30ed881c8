//! What a build is made of, as one number: files in the order of their paths, each with its path and its bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A number that changes whenever a file below one of `places` does, or its name (FNV-1a, 64 bit).
pub fn hash(root: &Path, places: &[&str]) -> io::Result<u64> {
    let mut files = Vec::new();
    for place in places {
        collect(&root.join(place), &mut files)?;
    }
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        // Lengths keep a name apart from what follows it.
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        add(name.as_bytes());
        add(&fs::read(&file)?);
    }
    Ok(hash)
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !place.is_dir() {
        files.push(place.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // What editors leave beside a file.
        if !name.starts_with(['.', '#']) && !name.ends_with('~') && !name.ends_with(".orig") {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}
