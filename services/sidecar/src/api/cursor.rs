//! Cursors: where a page of a list ended, by the keys of its order. What is inserted before that place moves nothing, so
//! that no record is shown twice and none is passed over.
//!
//! Opaque to clients: the kind of list and order, the ranks of the last record, its id; in JSON, in base64.

use axum::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike as _, Utc};
use helix_kit::problem::Problem;
use helix_schemas::names::CallId;
use serde::{Deserialize, Serialize};

/// The end of a page. `N` ranks decide the order, and the call's id among equals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor<const N: usize> {
    pub(crate) ranks: [i64; N],
    pub(crate) call: String,
}

#[derive(Serialize, Deserialize)]
struct Written(String, Vec<i64>, String);

impl<const N: usize> Cursor<N> {
    /// As a text for the client; `kind` names the list and its order.
    pub(crate) fn write(&self, kind: &str) -> String {
        // Texts and numbers always serialise.
        let json =
            serde_json::to_vec(&Written(kind.to_owned(), self.ranks.to_vec(), self.call.clone())).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(json)
    }

    /// What a client gives back.
    ///
    /// # Errors
    /// 400 where it is none of this list and order.
    pub(crate) fn read(kind: &str, text: &str) -> Result<Self, Problem> {
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let Written(of, ranks, call) = serde_json::from_slice(&json).map_err(|_| invalid())?;
        let ranks: [i64; N] = ranks.try_into().map_err(|_| invalid())?;
        if of != kind || CallId::new(&call).is_err() {
            return Err(invalid());
        }
        Ok(Self { ranks, call })
    }
}

/// A rank that is a moment, in microseconds.
///
/// # Errors
/// 400 where it lies in no century that calls are from.
pub(crate) fn moment(micros: i64) -> Result<DateTime<Utc>, Problem> {
    let at = DateTime::from_timestamp_micros(micros).filter(|at| (1970..10_000).contains(&at.year()));
    at.ok_or_else(invalid)
}

fn invalid() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "cursor_invalid",
        "The cursor is none of this list",
        "give back `nextCursor` as it was, with the same order; or begin without one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_only_by_its_own_list() {
        let cursor = Cursor { ranks: [1_774_310_430_000_000, -80], call: "41\"é".to_owned() };
        let text = cursor.write("missed:due");
        assert_eq!(Cursor::read("missed:due", &text).unwrap(), cursor);
        assert!(Cursor::<2>::read("missed:priority", &text).is_err());
        assert!(Cursor::<1>::read("missed:due", &text).is_err());
        for strange in ["", "e30", "!", "WyJ4IixbMSwyXSwiIl0"] {
            assert_eq!(Cursor::<2>::read("x", strange).unwrap_err().code, "cursor_invalid", "{strange}");
        }
    }
}
