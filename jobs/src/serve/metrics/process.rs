//! What the process takes: the one figure beside the build that belongs to no job.

use super::sheet::Sheet;

/// Tells the resident memory, where the system has it as Linux does.
pub(super) fn tell(sheet: &mut Sheet) {
    let resident =
        sheet.gauges("caudal_process_resident_memory_bytes", "Memory that the process, with all of its jobs, holds.", &[]);
    if let Some(bytes) = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status)) {
        resident.with_label_values::<&str>(&[]).set(bytes as f64);
    }
}

/// The line `VmRSS:    1234 kB`, where a kB is 1024 bytes.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::resident_bytes;

    #[test]
    fn resident_memory_is_read_as_linux_writes_it() {
        assert_eq!(resident_bytes("VmPeak:\t  999 kB\nVmRSS:\t    1234 kB\nThreads:\t4\n"), Some(1234 * 1024));
        assert_eq!(resident_bytes("VmPeak:\t  999 kB\n"), None);
    }
}
