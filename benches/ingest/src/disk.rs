//! The sustained rate of the disk under the temporary directory: write and sync, in the sizes of commits.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::Instant;

use anyhow::Result;

/// Prints the sustained rate of writes that are synced one by one.
pub fn print_rates() -> Result<()> {
    let mut file = tempfile::tempfile()?;
    let block = vec![0x5a_u8; 16 << 20];
    // Allocated once, so that what is measured is data and not the growth of a file.
    for _ in 0..16 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    for (bytes, times) in [(4 << 10, 200), (256 << 10, 100), (16 << 20, 64)] {
        let seconds = write_and_sync(&mut file, &block[..bytes], times)?;
        println!(
            "disk: write and sync of {:>6} KiB: {:>6.2} ms, {:>6.0} MB/s",
            bytes >> 10,
            seconds * 1e3 / times as f64,
            (bytes * times) as f64 / 1e6 / seconds
        );
    }
    Ok(())
}

fn write_and_sync(file: &mut File, block: &[u8], times: usize) -> Result<f64> {
    let began = Instant::now();
    let span = (256 << 20) / block.len();
    for i in 0..times {
        if i % span == 0 {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(block)?;
        file.sync_data()?;
    }
    Ok(began.elapsed().as_secs_f64())
}
