//! Byte strings in a file, each behind its length: how `run` hands requests and records to the processes it starts.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// Writes them.
///
/// # Errors
/// Where the file cannot be written.
pub(crate) fn write<F: AsRef<[u8]>>(path: &Path, frames: impl IntoIterator<Item = F>) -> Result<()> {
    let mut bytes = Vec::new();
    for frame in frames {
        let frame = frame.as_ref();
        bytes.extend_from_slice(&u32::try_from(frame.len())?.to_le_bytes());
        bytes.extend_from_slice(frame);
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// Reads them.
///
/// # Errors
/// Where the file cannot be read or is cut short.
pub(crate) fn read(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        let (frame, after) = after.split_at_checked(length).context("the file is cut short")?;
        frames.push(frame.to_vec());
        rest = after;
    }
    Ok(frames)
}
