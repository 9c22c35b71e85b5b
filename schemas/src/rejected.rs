//! A body that could not be read: kept as received, with the reason (law 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{id::FactId, names::WorkspaceId, time::ReceivedAt};

/// One record of `telephony.rejected`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedBody {
    /// Told to the sender.
    pub id: FactId,
    /// The error code, as in docs/errors.
    pub code: String,
    /// What was wrong, without personal data.
    pub reason: String,
    /// Our clock.
    pub received_at: ReceivedAt,
    /// HTTP method.
    pub method: String,
    /// Path as requested, secrets removed.
    pub endpoint: String,
    /// Where the path or gateway named a known workspace.
    pub workspace: Option<WorkspaceId>,
    /// Request headers, secrets removed.
    pub headers: BTreeMap<String, String>,
    /// Content type.
    pub content_type: String,
    /// The bytes, secrets removed.
    #[serde(with = "apache_avro::serde::bytes")]
    pub raw: Vec<u8>,
    /// `X-Request-Id`.
    pub request_id: String,
}
