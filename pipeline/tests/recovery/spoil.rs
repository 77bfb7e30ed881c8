//! Damage to checkpoints: files deleted, flipped, cut or written elsewhere, and which checkpoints are left whole.

use super::harness::*;
use caudal_pipeline::engine::Manifest;
use caudal_pipeline::log::{Checkpoint, LogRecord};
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::run::{Run, RunWriter, hash_in};
use caudal_pipeline::time::Epoch;
use std::collections::BTreeSet;

/// The blobs that were damaged.
#[derive(Default)]
pub struct Spoiled {
    names: BTreeSet<String>,
    /// How often a run that another state might have written was put in a file's place.
    pub elsewhere: usize,
}

/// Damage that can be undone.
pub struct Wounds(Vec<(String, Vec<u8>)>);

impl Wounds {
    pub fn heal(self, disk: &Disk) {
        self.0.iter().for_each(|(name, bytes)| disk.replace(name, bytes));
    }
}

impl Spoiled {
    /// Epochs of the checkpoints in the log that are whole, oldest first.
    pub fn intact(&self, disk: &Disk) -> Vec<Epoch> {
        checkpoints(disk).into_iter().filter(|checkpoint| self.is_intact(disk, checkpoint)).map(|c| c.epoch).collect()
    }

    /// The newest checkpoint in the log, whole or not.
    pub fn newest_epoch(&self, disk: &Disk) -> Option<Epoch> {
        checkpoints(disk).last().map(|checkpoint| checkpoint.epoch)
    }

    pub fn has_any(&self, disk: &Disk) -> bool {
        !checkpoints(disk).is_empty()
    }

    /// Damages a file of the newest whole checkpoint that no other one lists.
    pub fn newest(&mut self, random: &mut Random, disk: &Disk) {
        let whole: Vec<Checkpoint> = checkpoints(disk).into_iter().filter(|c| self.is_intact(disk, c)).collect();
        let [.., before, newest] = &whole[..] else { panic!("two are whole") };
        let kept = files(disk, before);
        let own: Vec<String> = files(disk, newest).into_iter().filter(|name| !kept.contains(name)).collect();
        let name = own[random.below(own.len() as u64) as usize].clone();
        self.spoil(random, disk, &name);
        self.names.insert(name);
    }

    /// Damages every manifest that the log names, for a while.
    pub fn all(&mut self, random: &mut Random, disk: &Disk) -> Wounds {
        let names = checkpoints(disk).into_iter().map(|checkpoint| checkpoint.manifest);
        let there: Vec<(String, Vec<u8>)> = names.filter_map(|name| Some((name.clone(), disk.read(&name).ok()?))).collect();
        there.iter().for_each(|(name, _)| self.spoil(random, disk, name));
        Wounds(there)
    }

    fn spoil(&mut self, random: &mut Random, disk: &Disk, name: &str) {
        match random.below(3) {
            0 => match elsewhere(disk, name) {
                Some(other) => {
                    self.elsewhere += 1;
                    disk.replace(name, &other);
                }
                None => disk.delete(name).unwrap(),
            },
            1 => drop(disk.flip(name, random.below(1 << 20) as usize)),
            _ => {
                let bytes = disk.read(name).unwrap();
                disk.replace(name, &bytes[..random.below(bytes.len() as u64) as usize]);
            }
        }
    }

    fn is_intact(&self, disk: &Disk, checkpoint: &Checkpoint) -> bool {
        let there = |name: &String| !self.names.contains(name) && disk.read(name).is_ok();
        there(&checkpoint.manifest) && files(disk, checkpoint).iter().all(there)
    }
}

/// The run that another state might have under this name: whole, and as long, with one value that differs. Of three files in
/// four, as the bytes have it: seeds choose no other trials than before.
fn elsewhere(disk: &Disk, name: &str) -> Option<Vec<u8>> {
    let bytes = disk.read(name).unwrap();
    let mut random = Random::new(bytes.len() as u64);
    if random.chance(25) {
        return None;
    }
    let run = Run::open(disk, name, bytes.len() as u64, hash_in(&bytes)?).ok()?;
    let mut entries = run.scan(disk, &[]).collect::<Result<Vec<_>, _>>().ok()?;
    let at = random.below(entries.len() as u64) as usize;
    *entries[at].1.last_mut()? ^= 1;
    let mut writer = RunWriter::new();
    entries.iter().for_each(|(key, value)| writer.push(key, value));
    let (other, _) = writer.finish();
    assert_eq!(other.len(), bytes.len());
    Some(other)
}

/// Of the log as it is now.
fn checkpoints(disk: &Disk) -> Vec<Checkpoint> {
    let there = disk.list("log/").unwrap();
    let first: u64 = there.first().map_or(0, |name| name["log/".len()..].parse().unwrap());
    let kept = disk.history().into_iter().filter(|(seq, _)| *seq >= first);
    kept.filter_map(|(_, record)| if let LogRecord::Checkpoint(checkpoint) = record { Some(checkpoint) } else { None }).collect()
}

/// The manifest and all that it lists.
fn files(disk: &Disk, checkpoint: &Checkpoint) -> Vec<String> {
    let mut names = vec![checkpoint.manifest.clone()];
    if let Ok(manifest) = Manifest::decode(&disk.read(&checkpoint.manifest).unwrap_or_default()) {
        names.extend(manifest.state.into_iter().map(|file| file.name));
        names.extend(manifest.ledger.into_iter().map(|run| run.name));
    }
    names
}
