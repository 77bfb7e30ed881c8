//! What the binary `caudal` is made of; `main` only hands over to it.
//!
//! [`cli`] reads arguments and picks a verb; [`load`] reads a job file with the process's environment; [`run`] runs
//! jobs: sources, engine and sinks, a thread each; [`live`] shows them; [`demo`] runs one on nothing but the embedded
//! store and proves it with [`recompute`].

pub mod cases;
pub mod cli;
pub mod demo;
pub mod inspect;
pub mod jobfile;
pub mod live;
pub mod load;
pub mod recompute;
pub mod run;
pub mod serve;
pub mod telemetry;

/// Which build this is: a hash of all sources that decide what comes out of a record. The version alone says too little, since
/// many builds have one. `caudal --version` tells it.
pub const BUILD: u64 = match u64::from_str_radix(env!("CAUDAL_BUILD"), 16) {
    Ok(build) => build,
    Err(_) => panic!("the build script gives sixteen hexadecimal digits"),
};

/// In place of the system's: glibc gives many threads arenas of their own, each of which keeps the most that was ever
/// needed in it, so that memory grew at a constant load. The C libraries within allocate from it too.
#[cfg(all(target_os = "linux", not(fuzzing)))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(test)]
#[path = "../build/sources.rs"]
mod sources;

#[cfg(test)]
mod tests {
    use super::sources::hash;
    use std::fs::{create_dir_all, remove_dir_all, rename, write};

    #[test]
    fn a_build_is_told_apart_by_every_file_of_its_sources() {
        let root = std::env::temp_dir().join(format!("caudal-sources-{}", std::process::id()));
        create_dir_all(root.join("src/a")).unwrap();
        write(root.join("src/a/b.rs"), "fn b() {}").unwrap();
        write(root.join("src/c.rs"), "").unwrap();
        write(root.join("lock"), "1").unwrap();
        let now = || hash(&root, &["src", "lock"]).unwrap();
        let mut seen = vec![now()];
        assert_eq!(now(), seen[0], "the same sources are the same build");
        write(root.join("src/a/b.rs"), "fn c() {}").unwrap();
        seen.push(now());
        rename(root.join("src/c.rs"), root.join("src/d.rs")).unwrap();
        seen.push(now());
        write(root.join("lock"), "2").unwrap();
        seen.push(now());
        write(root.join("elsewhere"), "").unwrap();
        write(root.join("src/.c.rs.swp"), "").unwrap();
        write(root.join("src/a/b.rs~"), "").unwrap();
        assert_eq!(now(), seen[3], "what lies elsewhere is no part of it");
        remove_dir_all(&root).unwrap();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4, "{seen:x?}");
    }
}
