//! Fuzz targets of ingest. What they check is in [`properties`]; ingest's own tests check the same of every seed.

pub mod properties;
