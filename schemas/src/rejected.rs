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
    /// Set: the record is no body but a mark, see [`Self::mark`]. Since version 2.
    #[serde(default)]
    pub redriven: Option<RedrivenBody>,
}

/// What became of a rejected body that was read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivenBody {
    /// Offset of the body, in the partition that holds the mark too.
    pub offset: i64,
    /// Our clock when its events were acknowledged.
    pub at: ReceivedAt,
    /// Events of it stored as facts.
    pub stored: i32,
    /// Events of it stored without a workspace.
    pub unrouted: i32,
}

impl RejectedBody {
    /// The mark that this body was redriven. Goes under the record key of the body itself, and with it into the same
    /// partition; bytes and headers stay behind.
    #[must_use]
    pub fn mark(&self, redriven: RedrivenBody) -> Self {
        Self {
            id: self.id,
            code: self.code.clone(),
            reason: self.reason.clone(),
            received_at: self.received_at,
            method: self.method.clone(),
            endpoint: self.endpoint.clone(),
            workspace: self.workspace.clone(),
            headers: BTreeMap::new(),
            content_type: self.content_type.clone(),
            raw: Vec::new(),
            request_id: self.request_id.clone(),
            redriven: Some(redriven),
        }
    }
}
