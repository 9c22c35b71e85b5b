//! Takes the text of a request apart: an INSERT into its head, its format and its data; any other statement into
//! what the answer's headers and the way of running it need.
//!
//! The engine's own parser has the last word on everything else; nothing here judges whether SQL is right.

use crate::exception::{Exception, code};
use crate::lexer::{Kind, Lexer, Token};

/// A request's statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// An INSERT whose rows stand behind it.
    Insert {
        /// The statement up to its FORMAT or VALUES: `..head_end` of the text.
        head_end: usize,
        /// The input format; `None` when the statement names none, and the request's default holds.
        format: Option<String>,
        /// Where the rows begin in the text.
        data_start: usize,
    },
    /// Anything else.
    Other {
        /// The output format that the statement names.
        format: Option<String>,
        /// Whether it may be tried as a stream: it begins as a query does, and has no totals, which a stream
        /// would repeat.
        streams: bool,
    },
}

/// Finds the parts. Refuses what a server refuses too: several statements in one request, files of the server.
pub(crate) fn analyse(text: &[u8]) -> Result<Statement, Exception> {
    let mut tokens = Lexer::new(text);
    let Some(first) = tokens.next() else {
        return Err(Exception::new(code::SYNTAX_ERROR, "Syntax error: Empty query"));
    };
    if first.is("INSERT")
        && let Some(insert) = insert(text, &mut tokens)?
    {
        return Ok(insert);
    }
    other(text, first)
}

/// The parts of an INSERT with rows behind it; `None` for an INSERT that selects.
fn insert(text: &[u8], tokens: &mut Lexer<'_>) -> Result<Option<Statement>, Exception> {
    let mut previous: Option<Token<'_>> = None;
    while let Some(token) = tokens.next() {
        if token.depth > 0 {
            previous = Some(token);
            continue;
        }
        // A table or database may bear any of these words as its name.
        let is_name = previous.is_some_and(|before| {
            before.text == b"." || before.is("INTO") || before.is("TABLE") || before.is("FUNCTION")
        });
        if !is_name {
            if token.is("SELECT") || token.is("WITH") || token.is("WATCH") {
                return Ok(None);
            }
            if token.is("INFILE") {
                return Err(Exception::new(
                    code::UNKNOWN_TYPE_OF_QUERY,
                    "Query has infile and was send directly to server",
                ));
            }
            if token.is("VALUES") {
                let format = Some("Values".to_owned());
                return Ok(Some(Statement::Insert { head_end: token.start, format, data_start: token.end() }));
            }
            if token.is("FORMAT") {
                let Some(name) = tokens.next() else {
                    return Err(Exception::new(code::SYNTAX_ERROR, "Syntax error: no format after FORMAT"));
                };
                let format = Some(String::from_utf8_lossy(name.text).into_owned());
                let data_start = data_start(text, name.end())?;
                return Ok(Some(Statement::Insert { head_end: token.start, format, data_start }));
            }
        }
        previous = Some(token);
    }
    Ok(Some(Statement::Insert { head_end: text.len(), format: None, data_start: text.len() }))
}

/// Rows begin after the blanks behind the format's name, and after one line end if there is one.
fn data_start(text: &[u8], format_end: usize) -> Result<usize, Exception> {
    let rest = text.get(format_end..).unwrap_or_default();
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | 0x0c)).count();
    match rest.get(blanks..).unwrap_or_default() {
        [b';', ..] => Err(Exception::new(
            code::SYNTAX_ERROR,
            "You have excessive ';' symbol before data for INSERT: remove it behind the format's name",
        )),
        [b'\r', b'\n', ..] => Ok(format_end + blanks + 2),
        [b'\n', ..] => Ok(format_end + blanks + 1),
        _ => Ok(format_end + blanks),
    }
}

fn other(text: &[u8], first: Token<'_>) -> Result<Statement, Exception> {
    let mut format = None;
    let mut totals = false;
    let mut ended = false;
    let mut tokens = Lexer::new(text).peekable();
    while let Some(token) = tokens.next() {
        if ended && token.kind != Kind::Semicolon {
            return Err(Exception::new(code::SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)"));
        }
        ended |= token.kind == Kind::Semicolon;
        totals |= token.is("TOTALS");
        if token.is("OUTFILE") && token.depth == 0 {
            return Err(Exception::new(code::UNKNOWN_TYPE_OF_QUERY, "INTO OUTFILE is not allowed"));
        }
        if token.is("FORMAT") && token.depth == 0 {
            let name = tokens.peek().filter(|next| next.kind == Kind::Word).copied();
            format = name.map(|name| String::from_utf8_lossy(name.text).into_owned());
        }
    }
    let reads = first.is("SELECT") || first.is("WITH") || first.is("FROM") || first.text == b"(";
    Ok(Statement::Other { format, streams: reads && !totals })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(text: &str) -> (String, Option<String>, String) {
        match analyse(text.as_bytes()).unwrap() {
            Statement::Insert { head_end, format, data_start } => {
                (text[..head_end].to_owned(), format, text[data_start..].to_owned())
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refused(text: &str) -> i32 {
        analyse(text.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn rows_begin_after_one_line_end_and_keep_every_other_byte() {
        let (head, format, data) = insert("INSERT INTO t (a) FORMAT RowBinary\n\n\n;x");
        assert_eq!(
            (head.as_str(), format.as_deref(), data.as_str()),
            ("INSERT INTO t (a) ", Some("RowBinary"), "\n\n;x")
        );
        assert_eq!(insert("insert into t format TSV \r\n1\n").2, "1\n");
        assert_eq!(insert("insert into t format TSV 1\n").2, "1\n");
    }

    #[test]
    fn words_inside_names_texts_and_comments_are_not_clauses() {
        let text = "INSERT INTO `format`.values (`values`, \"format\") /* FORMAT X */ SETTINGS a = 'VALUES' -- FORMAT\n VALUES (1)";
        let (head, format, data) = insert(text);
        assert!(head.ends_with("FORMAT\n "), "{head}");
        assert_eq!((format.as_deref(), data.as_str()), (Some("Values"), " (1)"));
    }

    #[test]
    fn an_insert_that_selects_is_an_ordinary_statement() {
        let parsed = analyse(b"INSERT INTO t SELECT * FROM u FORMAT Null").unwrap();
        assert_eq!(parsed, Statement::Other { format: Some("Null".to_owned()), streams: false });
    }

    #[test]
    fn the_output_format_is_the_one_of_the_statement_not_of_a_subquery_or_text() {
        let format = |text: &str| match analyse(text.as_bytes()).unwrap() {
            Statement::Other { format, .. } => format,
            insert @ Statement::Insert { .. } => panic!("{insert:?}"),
        };
        assert_eq!(format("SELECT 1 FORMAT JSON SETTINGS max_threads = 1;").as_deref(), Some("JSON"));
        assert_eq!(format("SELECT 'FORMAT JSON' -- FORMAT CSV"), None);
        assert_eq!(format("SELECT $x$ FORMAT CSV $x$ FORMAT TSV").as_deref(), Some("TSV"));
    }

    #[test]
    fn a_second_statement_a_file_and_an_empty_text_are_refused() {
        assert_eq!(refused("SELECT 1; SELECT 2"), 62);
        assert_eq!(refused("SELECT ';' ; -- end\n ; DROP TABLE t"), 62);
        assert_eq!(refused("INSERT INTO t FROM INFILE 'x' FORMAT CSV"), 78);
        assert_eq!(refused("SELECT 1 INTO OUTFILE '/tmp/x'"), 78);
        assert_eq!(refused(" -- nothing"), 62);
        assert_eq!(refused("INSERT INTO t FORMAT CSV;\n1"), 62);
        assert!(analyse(b"SELECT 1;; -- fine\n").is_ok());
    }

    #[test]
    fn totals_are_not_streamed() {
        let streams = |text: &str| matches!(analyse(text.as_bytes()), Ok(Statement::Other { streams: true, .. }));
        assert!(streams("WITH 1 AS x SELECT x"));
        assert!(!streams("SELECT a, count() FROM t GROUP BY a WITH TOTALS"));
        assert!(!streams("SHOW TABLES"));
    }
}
