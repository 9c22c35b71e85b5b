//! Every error code has a page.

use helix_ingest::http::problems::CODES;

#[test]
fn every_code_has_a_page() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    for code in CODES {
        let page =
            std::fs::read_to_string(folder.join(format!("{code}.md"))).unwrap_or_else(|_| panic!("no page for {code}"));
        assert!(page.starts_with(&format!("# `{code}`")), "{code}");
        for part in ["## Why", "## What to do"] {
            assert!(page.contains(part), "{code} lacks {part}");
        }
    }
}

#[test]
fn every_code_in_the_source_is_listed() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let source = ["http/problems.rs", "http/events.rs", "http/intake.rs", "normalise/mod.rs"]
        .map(|file| std::fs::read_to_string(folder.join(file)).unwrap())
        .concat();
    let beyond_list = source.replacen("CODES", "", 1);
    for code in CODES.into_iter().filter(|code| !matches!(*code, "component_down" | "no_such_path" | "no_such_method"))
    {
        assert!(beyond_list.matches(&format!("\"{code}\"")).count() >= 2, "{code} is listed and used");
    }
}
