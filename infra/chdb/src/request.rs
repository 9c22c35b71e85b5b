//! What a request says in its URL and headers: the statement, who asks, settings, parameters, format.

use axum::http::{HeaderMap, header};
use base64::Engine as _;

use crate::exception::{Exception, code};

/// Everything of a request but its body.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// The `query` parameter.
    pub(crate) query: Option<String>,
    pub(crate) query_id: Option<String>,
    pub(crate) database: Option<String>,
    /// The format where the statement names none.
    pub(crate) default_format: Option<String>,
    pub(crate) credentials: Credentials,
    /// Settings for this query alone, in the order given.
    pub(crate) settings: Vec<(String, String)>,
    /// Values of `{name:Type}`.
    pub(crate) params: Vec<(String, String)>,
    /// The whole result is held back until the query has succeeded.
    pub(crate) waits_for_end: bool,
    /// The method allows reading only.
    pub(crate) reads_only: bool,
    /// How the body is compressed, by the names that HTTP uses.
    pub(crate) content_encoding: Option<String>,
}

/// Who asks. No name means the administrator `default`, as in ClickHouse.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Option<String>,
    pub(crate) password: String,
}

/// Parameters that concern the connection, sessions or progress headers. They change nothing here: each request is
/// a session of its own, answers are not compressed, and headers are sent once.
const WITHOUT_EFFECT: [&str; 16] = [
    "session_id",
    "session_timeout",
    "session_check",
    "client_protocol_version",
    "enable_http_compression",
    "http_zlib_compression_level",
    "quota_key",
    "role",
    "http_headers_progress_interval_ms",
    "send_progress_in_http_headers",
    "buffer_size",
    "http_response_buffer_size",
    "http_response_headers",
    "cancel_http_readonly_queries_on_client_close",
    "add_http_cors_header",
    "close_session",
];

impl Request {
    /// Reads the URL's query string and the headers.
    pub(crate) fn parse(query_string: &str, headers: &HeaderMap) -> Result<Self, Exception> {
        let mut request = Self {
            default_format: text(headers, "x-clickhouse-format"),
            database: text(headers, "x-clickhouse-database"),
            content_encoding: text(headers, header::CONTENT_ENCODING.as_str())
                .filter(|encoding| encoding != "identity"),
            ..Self::default()
        };
        let mut url_user = None;
        let mut url_password = None;
        for (name, value) in form_urlencoded::parse(query_string.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "query" => request.query = Some(value),
                "query_id" => request.query_id = Some(value),
                "database" => request.database = Some(value),
                "default_format" => request.default_format = Some(value),
                "user" => url_user = Some(value),
                "password" => url_password = Some(value),
                "wait_end_of_query" => request.waits_for_end = is_true(&value),
                "compress" | "decompress" => {
                    if is_true(&value) {
                        let message = format!("{name}=1, ClickHouse's own block compression, is not supported here");
                        return Err(Exception::new(code::NOT_IMPLEMENTED, message));
                    }
                }
                name if WITHOUT_EFFECT.contains(&name) => {}
                name => match name.strip_prefix("param_") {
                    Some(param) => request.params.push((param.to_owned(), value)),
                    None => request.settings.push((name.to_owned(), value)),
                },
            }
        }
        request.database = request.database.filter(|database| !database.is_empty());
        request.query_id = request.query_id.filter(|query_id| !query_id.is_empty());
        request.default_format = request.default_format.filter(|format| !format.is_empty());
        if text(headers, header::CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("multipart/form-data")) {
            let message = "external tables (multipart/form-data) are not supported here";
            return Err(Exception::new(code::NOT_IMPLEMENTED, message));
        }
        request.credentials = credentials(headers, url_user, url_password)?;
        Ok(request)
    }
}

fn credentials(
    headers: &HeaderMap,
    url_user: Option<String>,
    url_password: Option<String>,
) -> Result<Credentials, Exception> {
    if let Some(user) = text(headers, "x-clickhouse-user") {
        return Ok(Credentials { user: Some(user), password: text(headers, "x-clickhouse-key").unwrap_or_default() });
    }
    if let Some(authorization) = text(headers, header::AUTHORIZATION.as_str()) {
        let decoded = authorization
            .strip_prefix("Basic ")
            .and_then(|encoded| base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            let message = "Invalid authentication: only the Basic scheme is supported here";
            return Err(Exception::new(code::AUTHENTICATION_FAILED, message));
        };
        return Ok(Credentials { user: Some(user.to_owned()), password: password.to_owned() });
    }
    Ok(Credentials { user: url_user, password: url_password.unwrap_or_default() })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_parameters_are_told_from_what_concerns_the_connection() {
        let query = "query=SELECT+%7Ba%3AUInt8%7D&param_a=7&max_threads=1&session_id=x&database=d&compress=0";
        let request = Request::parse(query, &HeaderMap::new()).unwrap();
        assert_eq!(request.query.as_deref(), Some("SELECT {a:UInt8}"));
        assert_eq!(request.params, [("a".to_owned(), "7".to_owned())]);
        assert_eq!(request.settings, [("max_threads".to_owned(), "1".to_owned())]);
        assert_eq!(request.database.as_deref(), Some("d"));
        assert_eq!(Request::parse("decompress=1", &HeaderMap::new()).unwrap_err().code(), 48);
    }

    #[test]
    fn basic_credentials_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Basic dXNlcjpwYTpzcw==".parse().unwrap());
        let request = Request::parse("", &headers).unwrap();
        assert_eq!(request.credentials, Credentials { user: Some("user".to_owned()), password: "pa:ss".to_owned() });
    }
}
