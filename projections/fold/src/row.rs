//! Rows in their canonical form: one list of named columns, used for hashing, comparing and showing differences.
//!
//! The canonical form is what a root is made of. It holds what the row *means*; broker offsets, insert times and other
//! accidents stay out of it, so that a rebuild, another batch cut or another machine gives the same root.

use helix_schemas::time::OccurredAt;
use serde_json::{Value, json};

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
    /// A list of texts, in order.
    Texts(Vec<String>),
}

impl Cell {
    /// Text or null.
    #[must_use]
    pub fn text(value: Option<&str>) -> Self {
        value.map_or(Self::Null, |text| Self::Text(text.to_owned()))
    }

    /// A number or null.
    #[must_use]
    pub fn int(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }

    /// A moment or null.
    #[must_use]
    pub fn at(value: Option<OccurredAt>) -> Self {
        value.map_or(Self::Null, Self::At)
    }

    /// As JSON, for `--json` output.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => json!(text),
            Self::Int(number) => json!(number),
            Self::Bool(truth) => json!(truth),
            Self::At(at) => json!(at.to_rfc3339()),
            Self::Texts(texts) => json!(texts),
        }
    }

    /// Appends tag, length and bytes, so that no two different lists of cells run together.
    fn write(&self, out: &mut Vec<u8>) {
        let mut field = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Self::Null => field(0, &[]),
            Self::Text(text) => field(1, text.as_bytes()),
            Self::Int(number) => field(2, &number.to_be_bytes()),
            Self::Bool(truth) => field(3, &[u8::from(*truth)]),
            Self::At(at) => field(4, &at.millis().to_be_bytes()),
            Self::Texts(texts) => {
                field(5, &(texts.len() as u64).to_be_bytes());
                for text in texts {
                    field(1, text.as_bytes());
                }
            }
        }
    }
}

/// One row of a read model.
pub trait Row {
    /// The table, without its schema.
    const TABLE: &'static str;

    /// What tells this row from others of its table and workspace.
    fn key(&self) -> String;

    /// Every column that has a meaning, in the table's order, the workspace first.
    fn columns(&self) -> Vec<(&'static str, Cell)>;

    /// The canonical bytes: table, then each column's name and value.
    fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        Cell::Text(Self::TABLE.to_owned()).write(&mut out);
        for (name, cell) in self.columns() {
            Cell::Text(name.to_owned()).write(&mut out);
            cell.write(&mut out);
        }
        out
    }
}
