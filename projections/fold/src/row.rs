//! Rows in their canonical form: one list of named columns, used for hashing, storing, comparing and showing differences.
//!
//! The canonical form is what a root is made of. It holds what the row *means*; broker offsets, insert times and other
//! accidents stay out of it, so that a rebuild, another batch cut or another machine gives the same root.
//!
//! A row tells its columns to whoever asks ([`Row::tell`]): bytes are then written without a copy of any text, which
//! matters, as a projector hashes every row that changes twice.

use helix_schemas::time::OccurredAt;
use serde_json::{Value, json};

use crate::settings::day_text;

/// A column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// SQL NULL.
    Null,
    /// Text.
    Text(String),
    /// A whole number: seconds, counts, ranks.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// A moment.
    At(OccurredAt),
    /// A calendar day, as its number ([`crate::settings::Settings::day_of`]).
    Day(i64),
    /// A list of texts, in order.
    Texts(Vec<String>),
}

impl Cell {
    /// As JSON, for `--json` output.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => json!(text),
            Self::Int(number) => json!(number),
            Self::Bool(truth) => json!(truth),
            Self::At(at) => json!(at.to_rfc3339()),
            Self::Day(day) => json!(day_text(*day)),
            Self::Texts(texts) => json!(texts),
        }
    }
}

/// Who is told a row's columns, in the table's order.
pub trait Columns {
    /// A text, or null.
    fn text(&mut self, name: &'static str, value: Option<&str>);
    /// A whole number, or null.
    fn int(&mut self, name: &'static str, value: Option<i64>);
    /// True or false.
    fn truth(&mut self, name: &'static str, value: bool);
    /// A moment, or null.
    fn at(&mut self, name: &'static str, value: Option<OccurredAt>);
    /// A calendar day.
    fn day(&mut self, name: &'static str, value: i64);
    /// A list of texts, in order.
    fn texts<'a>(&mut self, name: &'static str, values: impl ExactSizeIterator<Item = &'a str>);
}

/// One row of a read model.
pub trait Row {
    /// The table, without its schema.
    const TABLE: &'static str;

    /// What tells this row from others of its table and workspace.
    fn key(&self) -> String;

    /// Tells every column that has a meaning, in the table's order, the workspace first.
    fn tell<C: Columns>(&self, to: &mut C);

    /// Every column with its value.
    fn columns(&self) -> Vec<(&'static str, Cell)> {
        let mut cells = Cells(Vec::with_capacity(28));
        self.tell(&mut cells);
        cells.0
    }

    /// The canonical bytes: table, then each column's value.
    fn canonical(&self) -> Vec<u8> {
        let mut bytes = Canonical(Vec::with_capacity(512));
        bytes.text(Self::TABLE, Some(Self::TABLE));
        self.tell(&mut bytes);
        bytes.0
    }
}

struct Cells(Vec<(&'static str, Cell)>);

impl Columns for Cells {
    fn text(&mut self, name: &'static str, value: Option<&str>) {
        self.0.push((name, value.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))));
    }

    fn int(&mut self, name: &'static str, value: Option<i64>) {
        self.0.push((name, value.map_or(Cell::Null, Cell::Int)));
    }

    fn truth(&mut self, name: &'static str, value: bool) {
        self.0.push((name, Cell::Bool(value)));
    }

    fn at(&mut self, name: &'static str, value: Option<OccurredAt>) {
        self.0.push((name, value.map_or(Cell::Null, Cell::At)));
    }

    fn day(&mut self, name: &'static str, value: i64) {
        self.0.push((name, Cell::Day(value)));
    }

    fn texts<'a>(&mut self, name: &'static str, values: impl ExactSizeIterator<Item = &'a str>) {
        self.0.push((name, Cell::Texts(values.map(str::to_owned).collect())));
    }
}

/// Each value is a tag and its bytes, of a length that the tag or the bytes before them tell, so that no two different
/// lists of values run together. Names stay out: their order is the table's.
struct Canonical(Vec<u8>);

const NULL: u8 = 0;
const TEXT: u8 = 1;
const INT: u8 = 2;
const FALSE: u8 = 3;
const TRUE: u8 = 4;
const AT: u8 = 5;
const DAY: u8 = 6;
const TEXTS: u8 = 7;

impl Canonical {
    fn length(&mut self, length: usize) {
        self.0.extend_from_slice(&(length as u64).to_be_bytes());
    }

    fn number(&mut self, tag: u8, number: i64) {
        self.0.push(tag);
        self.0.extend_from_slice(&number.to_be_bytes());
    }
}

impl Columns for Canonical {
    fn text(&mut self, _: &'static str, value: Option<&str>) {
        match value {
            Some(text) => {
                self.0.push(TEXT);
                self.length(text.len());
                self.0.extend_from_slice(text.as_bytes());
            }
            None => self.0.push(NULL),
        }
    }

    fn int(&mut self, _: &'static str, value: Option<i64>) {
        match value {
            Some(number) => self.number(INT, number),
            None => self.0.push(NULL),
        }
    }

    fn truth(&mut self, _: &'static str, value: bool) {
        self.0.push(if value { TRUE } else { FALSE });
    }

    fn at(&mut self, _: &'static str, value: Option<OccurredAt>) {
        match value {
            Some(at) => self.number(AT, at.millis()),
            None => self.0.push(NULL),
        }
    }

    fn day(&mut self, _: &'static str, value: i64) {
        self.number(DAY, value);
    }

    fn texts<'a>(&mut self, _: &'static str, values: impl ExactSizeIterator<Item = &'a str>) {
        self.0.push(TEXTS);
        self.length(values.len());
        for text in values {
            self.length(text.len());
            self.0.extend_from_slice(text.as_bytes());
        }
    }
}
