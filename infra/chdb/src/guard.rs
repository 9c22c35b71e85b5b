//! What a restricted session may not say although the engine's privileges would let it.
//!
//! The embedded engine lets the function `file` read any file of the machine without a privilege; table functions
//! over the parts of a table it may read show primary keys past the row policy; some system tables show sessions
//! and partitions of everybody. The rules look at tokens, so they refuse rather too much than too little.

use crate::exception::{Exception, code};
use crate::lexer::{Kind, Lexer, Token};

/// Tables of `system` that a client needs to find its way and that say nothing of anybody's data.
const SYSTEM_TABLES: [&str; 14] = [
    "aggregate_function_combinators",
    "build_options",
    "columns",
    "data_type_families",
    "databases",
    "formats",
    "functions",
    "keywords",
    "numbers",
    "one",
    "settings",
    "table_functions",
    "tables",
    "time_zones",
];

/// Settings that a restricted user may set for a query; the rest could reach files or lift the restriction.
const SETTINGS: [&str; 10] = [
    "date_time_input_format",
    "date_time_output_format",
    "extremes",
    "final",
    "group_by_use_nulls",
    "join_use_nulls",
    "result_overflow_mode",
    "session_timezone",
    "timeout_overflow_mode",
    "union_default_mode",
];

/// Refuses a setting that is not on the list and not a limit or a matter of output.
pub(crate) fn check_setting(name: &str) -> Result<(), Exception> {
    if SETTINGS.contains(&name) || name.starts_with("max_") || name.starts_with("output_format_") {
        return Ok(());
    }
    let message = format!("Setting {name} should not be changed by this user");
    Err(Exception::new(code::SETTING_CONSTRAINT_VIOLATION, message))
}

/// Refuses a database that has no place in a restricted session.
pub(crate) fn check_database(name: &str) -> Result<(), Exception> {
    if name.eq_ignore_ascii_case("system") { Err(denied("the database system")) } else { Ok(()) }
}

/// Refuses a statement that names what privileges do not cover.
pub(crate) fn check_statement(text: &[u8]) -> Result<(), Exception> {
    let tokens = Lexer::new(text).collect::<Vec<_>>();
    for (index, token) in tokens.iter().enumerate() {
        let Some(name) = token.name() else { continue };
        if token.kind == Kind::QuotedName && name.contains('\\') {
            return Err(denied("an escape inside a quoted name"));
        }
        let forbidden = matches!(name.as_str(), "file" | "merge" | "processlist" | "identifier" | "merges")
            || name.starts_with("mergetree");
        // A column may bear one of these names; after a dot it can be no function and no table function.
        if forbidden && !follows_dot(&tokens, index) {
            return Err(denied(&name));
        }
        if name == "system" && tokens.get(index + 1).is_some_and(|next| next.text == b".") {
            let table = tokens.get(index + 2).and_then(Token::name).unwrap_or_default();
            if !SYSTEM_TABLES.contains(&table.as_str()) {
                return Err(denied(&format!("system.{table}")));
            }
        }
    }
    Ok(())
}

fn follows_dot(tokens: &[Token<'_>], index: usize) -> bool {
    index.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|before| before.text == b".")
}

fn denied(what: &str) -> Exception {
    Exception::new(code::ACCESS_DENIED, format!("Not enough privileges: {what} is not available to this user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_files_and_of_others_are_refused_however_they_are_written() {
        for text in [
            "SELECT file('/etc/hostname')",
            "SELECT \"file\" /* x */ ('/etc/hostname')",
            "SELECT `f\\x69le`('/etc/hostname')",
            "SELECT * APPLY file FROM (SELECT '/etc/hostname')",
            "SELECT * FROM mergeTreeIndex('helix', 'facts')",
            "SELECT * FROM merge('system', 'parts')",
            "SELECT * FROM system.parts",
            "SELECT * FROM `system` . \"processes\"",
            "SELECT * FROM system.{t:Identifier}",
            "SELECT * FROM {d:Identifier}.parts",
            "SHOW PROCESSLIST",
        ] {
            assert_eq!(check_statement(text.as_bytes()).unwrap_err().code(), 497, "{text}");
        }
        for text in ["SELECT 'file(1)' FROM helix.facts", "SELECT name FROM system.tables", "SELECT t.file FROM t"] {
            assert!(check_statement(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn limits_may_be_set_and_identities_may_not() {
        assert!(check_setting("max_threads").is_ok());
        for name in ["log_comment", "readonly", "dialect", "format_template_row", "additional_table_filters"] {
            assert_eq!(check_setting(name).unwrap_err().code(), 452, "{name}");
        }
        assert!(check_database("SYSTEM").is_err());
    }
}
