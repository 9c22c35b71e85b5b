//! What is known of output formats: which may be sent as a stream of the engine's chunks.
//!
//! The engine formats every chunk of a stream on its own. For formats that are plain rows the chunks joined are the
//! whole; for those that begin with names and types, the header of every chunk but the first is cut off; every
//! other format is sent whole. Which is which was measured on all formats of the pinned engine.

/// How a format's chunks may be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joining {
    /// Chunks are plain rows.
    Rows,
    /// Each chunk begins with this many lines of header.
    Lines {
        /// How many.
        lines: usize,
        /// Whether a line end inside double quotes belongs to a name.
        quotes: bool,
    },
    /// Each chunk begins with RowBinary's count and names, and types if told so.
    Binary {
        /// Whether types follow the names.
        types: bool,
    },
    /// Chunks cannot be joined.
    Whole,
}

/// How the chunks of this format may be joined. Names are told apart by letter case, as the engine mostly does; an
/// unknown name is sent whole.
pub(crate) fn joining(format: &str) -> Joining {
    match format {
        "RowBinary"
        | "Native"
        | "TabSeparated"
        | "TSV"
        | "TabSeparatedRaw"
        | "TSVRaw"
        | "CSV"
        | "JSONEachRow"
        | "JSONLines"
        | "JSONL"
        | "NDJSON"
        | "JSONCompactEachRow"
        | "JSONStringsEachRow"
        | "JSONCompactStringsEachRow"
        | "TSKV"
        | "MsgPack"
        | "BSONEachRow" => Joining::Rows,
        "TabSeparatedWithNames" | "TSVWithNames" | "JSONCompactEachRowWithNames" => {
            Joining::Lines { lines: 1, quotes: false }
        }
        "TabSeparatedWithNamesAndTypes" | "TSVWithNamesAndTypes" | "JSONCompactEachRowWithNamesAndTypes" => {
            Joining::Lines { lines: 2, quotes: false }
        }
        "CSVWithNames" => Joining::Lines { lines: 1, quotes: true },
        "CSVWithNamesAndTypes" => Joining::Lines { lines: 2, quotes: true },
        "RowBinaryWithNames" => Joining::Binary { types: false },
        "RowBinaryWithNamesAndTypes" => Joining::Binary { types: true },
        _ => Joining::Whole,
    }
}

impl Joining {
    /// How many bytes of a chunk are its header; `None` if it does not read as one.
    pub(crate) fn header_length(self, chunk: &[u8]) -> Option<usize> {
        match self {
            Self::Rows => Some(0),
            Self::Lines { lines, quotes } => lines_length(chunk, lines, quotes),
            Self::Binary { types } => binary_length(chunk, types),
            Self::Whole => None,
        }
    }
}

fn lines_length(chunk: &[u8], lines: usize, quotes: bool) -> Option<usize> {
    let mut quoted = false;
    let mut seen = 0;
    for (index, byte) in chunk.iter().enumerate() {
        match byte {
            b'"' if quotes => quoted = !quoted,
            b'\n' if !quoted => {
                seen += 1;
                if seen == lines {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn binary_length(chunk: &[u8], types: bool) -> Option<usize> {
    let (columns, mut position) = varint(chunk, 0)?;
    let texts = columns.checked_mul(if types { 2 } else { 1 })?;
    for _ in 0..texts {
        let (length, start) = varint(chunk, position)?;
        position = start.checked_add(usize::try_from(length).ok()?)?;
    }
    (position <= chunk.len()).then_some(position)
}

/// An unsigned LEB128 number and where the byte after it stands.
fn varint(bytes: &[u8], mut position: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(position)?;
        position += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, position));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_where_the_first_row_begins() {
        let binary = Joining::Binary { types: true };
        assert_eq!(binary.header_length(b"\x01\x01a\x05UInt8\x07"), Some(9));
        assert_eq!(binary.header_length(b"\x01\x01a\x05UIn"), None);
        assert_eq!(Joining::Lines { lines: 2, quotes: true }.header_length(b"\"a\nb\"\n\"String\"\n1\n"), Some(15));
        assert_eq!(Joining::Rows.header_length(b"\n\n"), Some(0));
        assert_eq!(Joining::Whole.header_length(b"{}"), None);
    }
}
