//! Embeds the built web monitor: every file of `web/dist`, with its path and an entity tag.

use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dist = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("web/dist");
    println!("cargo::rerun-if-changed=web/dist");
    if !dist.join("index.html").is_file() {
        println!(
            "cargo::error=the web monitor is not built: run `make web`, \
             or `npm ci && npm run build` in services/sidecar/web"
        );
        return Ok(());
    }
    let mut files = Vec::new();
    list(&dist, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let bytes = fs::read(&file)?;
        let path = file.strip_prefix(&dist)?.to_string_lossy().replace('\\', "/");
        // Only tells one build's bytes from another's; nothing rests on it being hard to forge.
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let source = file.to_string_lossy();
        table.push_str(&format!("    File {{ path: {path:?}, tag: {tag:?}, bytes: include_bytes!({source:?}) }},\n"));
    }
    table.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("web.rs"), table)?;
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
