//! The fuzzers' seeds, without a fuzzer: what `make fuzz` holds of any bytes holds of these on every run.

#[path = "../../../../fuzz/src/properties.rs"]
mod properties;

use std::path::{Path, PathBuf};

use self::properties::TARGETS;
use super::support::samples;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

#[test]
fn every_seed_holds_every_property() {
    let mut seeds = 0;
    for (folder, _) in TARGETS {
        for entry in std::fs::read_dir(corpus().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            for (target, check) in TARGETS {
                // The panic that follows says what is wrong; this line says of which seed.
                println!("{target} of {}", path.display());
                check(&bytes);
            }
            seeds += 1;
        }
    }
    assert!(seeds > 60, "{seeds} seeds");
}

#[test]
fn every_sample_of_the_provider_is_a_seed() {
    for sample in samples() {
        let seed = std::fs::read(corpus().join("normalise").join(&sample.id));
        assert_eq!(seed.ok().as_deref(), Some(sample.body.as_bytes()), "fuzz/corpus/normalise/{}", sample.id);
    }
}
