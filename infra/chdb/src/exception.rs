//! ClickHouse exceptions: their code, text and the HTTP status that ClickHouse gives each.

use axum::http::StatusCode;

/// The codes that are raised or told apart here. The engine knows many more; they pass through as they are.
pub(crate) mod code {
    pub(crate) const BAD_ARGUMENTS: i32 = 36;
    pub(crate) const NOT_IMPLEMENTED: i32 = 48;
    pub(crate) const SYNTAX_ERROR: i32 = 62;
    pub(crate) const UNKNOWN_TYPE_OF_QUERY: i32 = 78;
    pub(crate) const UNKNOWN_SETTING: i32 = 115;
    pub(crate) const TOO_MANY_SIMULTANEOUS_QUERIES: i32 = 202;
    pub(crate) const NETWORK_ERROR: i32 = 210;
    pub(crate) const QUERY_IS_TOO_LARGE: i32 = 229;
    pub(crate) const SETTING_CONSTRAINT_VIOLATION: i32 = 452;
    pub(crate) const ACCESS_DENIED: i32 = 497;
    pub(crate) const AUTHENTICATION_FAILED: i32 = 516;
    pub(crate) const STD_EXCEPTION: i32 = 1001;
}

/// One exception, as ClickHouse would say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exception {
    code: i32,
    message: String,
}

impl Exception {
    /// One raised here; the name is added to the message as the engine does.
    pub(crate) fn new(code: i32, message: impl std::fmt::Display) -> Self {
        Self { code, message: format!("Code: {code}. DB::Exception: {message}. ({})", name(code)) }
    }

    /// One that the engine raised.
    pub(crate) fn from_engine(message: impl AsRef<str>) -> Self {
        let message = message.as_ref();
        let code = message
            .strip_prefix("Code: ")
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(digits, _)| digits.parse().ok())
            .unwrap_or(code::STD_EXCEPTION);
        // Some paths of the engine add the version, some do not; here it is added once, when the body is made.
        let message = message.trim_end();
        let message = match message.rsplit_once(" (version ") {
            Some((before, version)) if version.ends_with(')') && !version.contains(' ') => before,
            _ => message,
        };
        Self { code, message: message.to_owned() }
    }

    pub(crate) fn code(&self) -> i32 {
        self.code
    }

    /// The response body, as ClickHouse ends it.
    pub(crate) fn body(&self, version: &str) -> String {
        format!("{} (version {version} (official build))\n", self.message)
    }

    /// The status that ClickHouse answers with; what it does not list is 500. One differs on purpose: a full queue is
    /// 503 here, so that a client knows to come back.
    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            // Unknown user, wrong password, failed authentication, role not granted, access denied.
            192 | 193 | 512 | 516 | 497 => StatusCode::FORBIDDEN,
            // Texts and values that cannot be parsed, wrong types, missing or doubled columns, wrong syntax.
            6 | 8 | 15 | 25 | 26 | 27 | 36 | 37 | 38 | 41 | 44 | 53 | 62 | 72 | 117 | 123 | 167 | 168 | 223 | 321
            | 376 | 427 | 441 | 675 | 676 => StatusCode::BAD_REQUEST,
            // Unknown table, function, column, type, engine, database, setting, format, kind of query, role.
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => StatusCode::NOT_FOUND,
            code::QUERY_IS_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            code::NOT_IMPLEMENTED => StatusCode::NOT_IMPLEMENTED,
            // A socket's time is up, a file cannot be opened, a task cannot be scheduled, the queue is full.
            209 | 76 | 439 | code::TOO_MANY_SIMULTANEOUS_QUERIES => StatusCode::SERVICE_UNAVAILABLE,
            381 => StatusCode::LENGTH_REQUIRED,
            159 => StatusCode::REQUEST_TIMEOUT,
            779 => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn name(code: i32) -> &'static str {
    match code {
        code::BAD_ARGUMENTS => "BAD_ARGUMENTS",
        code::NOT_IMPLEMENTED => "NOT_IMPLEMENTED",
        code::SYNTAX_ERROR => "SYNTAX_ERROR",
        code::UNKNOWN_TYPE_OF_QUERY => "UNKNOWN_TYPE_OF_QUERY",
        code::UNKNOWN_SETTING => "UNKNOWN_SETTING",
        code::TOO_MANY_SIMULTANEOUS_QUERIES => "TOO_MANY_SIMULTANEOUS_QUERIES",
        code::NETWORK_ERROR => "NETWORK_ERROR",
        code::QUERY_IS_TOO_LARGE => "QUERY_IS_TOO_LARGE",
        code::SETTING_CONSTRAINT_VIOLATION => "SETTING_CONSTRAINT_VIOLATION",
        code::ACCESS_DENIED => "ACCESS_DENIED",
        code::AUTHENTICATION_FAILED => "AUTHENTICATION_FAILED",
        _ => "STD_EXCEPTION",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_once_at_the_end() {
        for message in [
            "Code: 60. DB::Exception: no. (UNKNOWN_TABLE)",
            "Code: 60. DB::Exception: no. (UNKNOWN_TABLE) (version 26.7.2.1)",
        ] {
            let exception = Exception::from_engine(message);
            assert_eq!(exception.code(), 60);
            assert_eq!(
                exception.body("26.7.2.1"),
                "Code: 60. DB::Exception: no. (UNKNOWN_TABLE) (version 26.7.2.1 (official build))\n"
            );
            assert_eq!(exception.status(), StatusCode::NOT_FOUND);
        }
    }
}
