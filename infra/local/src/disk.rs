//! Free space on the disk of the home.

use std::path::Path;

use crate::error::Error;

/// Bytes that this user may still write on the disk of `path`.
pub(crate) fn free_bytes(path: &Path) -> Result<u64, Error> {
    let found = rustix::fs::statvfs(path).map_err(|error| Error::file("measure the disk of", path)(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes as a person reads them.
pub(crate) fn readable(bytes: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = bytes.saturating_mul(10) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    if bytes >= 1 << 30 {
        format!("{} GiB", tenths(1 << 30))
    } else if bytes >= 1 << 20 {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

/// The sentence about a disk that is too full, or `None`.
pub(crate) fn complaint(path: &Path, least: u64) -> Result<Option<String>, Error> {
    let free = free_bytes(path)?;
    Ok((free < least).then(|| {
        format!(
            "only {} are free on the disk of {}, below {}: free some space, or name a home on another disk with --home",
            readable(free),
            path.display(),
            readable(least),
        )
    }))
}
