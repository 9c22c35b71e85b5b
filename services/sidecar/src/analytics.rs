//! The facts of a call, from ClickHouse, with the workspace's own user: row policies show it that workspace alone.
//!
//! The table `facts` is asked rather than the view `facts_once`: its order is by workspace and call, so a call is one range of
//! it however long the history is, and the first arrival of each fact is the same as the view's.

use std::time::Duration;

use helix_kit::{
    config::{ClickHouseConfig, WorkspaceConfig},
    problem::Problem,
    secret::Secret,
};
use serde::{Deserialize, Serialize};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// More facts than any call has; what lies beyond is not shown.
const MOST_FACTS: usize = 2000;
const CLICKHOUSE: &str = "clickhouse";

/// Where a fact of a call lies in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub(crate) struct FactPlace {
    topic: String,
    partition: i32,
    offset: i64,
    id: String,
    kind: String,
    occurred_at: String,
    received_at: String,
}

#[derive(Debug, thiserror::Error)]
enum AnalyticsError {
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("it refused: {status} {code}")]
    Refused { status: u16, code: String },
    #[error("its answer is none: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// Who asks which server.
#[derive(Debug, Clone)]
pub(crate) struct Analytics {
    url: reqwest::Url,
    database: String,
    user: String,
    password: Secret,
    http: reqwest::Client,
}

impl Analytics {
    /// With the workspace's own user, where it has one. `None` where the server's URL is none.
    pub(crate) fn new(server: &ClickHouseConfig, own: &WorkspaceConfig, http: reqwest::Client) -> Option<Self> {
        let (user, password) = if own.clickhouse_user.is_empty() {
            (&server.user, &server.password)
        } else {
            (&own.clickhouse_user, &own.clickhouse_password)
        };
        let url = server.url.parse().ok()?;
        Some(Self { url, database: server.database.clone(), user: user.clone(), password: password.clone(), http })
    }

    /// The facts of a call, each once, at its first arrival, in the order of arrival; or of them those that name one agent.
    pub(crate) async fn facts(
        &self,
        workspace: &str,
        call: &str,
        agent: Option<&str>,
    ) -> Result<Vec<FactPlace>, Problem> {
        self.ask(workspace, call, agent).await.map_err(|error| {
            // A client's words name hosts and times; a server's refusal is reduced to its code.
            tracing::warn!(%error, "clickhouse could not be asked");
            Problem::component_down(CLICKHOUSE)
        })
    }

    async fn ask(&self, workspace: &str, call: &str, agent: Option<&str>) -> Result<Vec<FactPlace>, AnalyticsError> {
        let statement = format!(
            "SELECT log_topic AS topic, log_partition AS partition, log_offset AS offset, toString(fact_id) AS id,
                    toString(kind) AS kind,
                    concat(formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S', 'UTC'), '.',
                           leftPad(toString(toUnixTimestamp64Milli(occurred_at) % 1000), 3, '0'), 'Z') AS occurred_at,
                    concat(formatDateTime(received_at, '%Y-%m-%dT%H:%i:%S', 'UTC'), '.',
                           leftPad(toString(intDiv(toUnixTimestamp64Micro(received_at) % 1000000, 1000)), 3, '0'), 'Z')
                        AS received_at
             FROM {}.facts AS stored
             WHERE stored.workspace_id = {{workspace:String}} AND stored.call_id = {{call:String}}
               AND ({{everybody:Bool}} OR stored.agent_id = {{agent:String}})
             ORDER BY stored.arrival
             LIMIT 1 BY stored.fact_id
             LIMIT {MOST_FACTS}
             FORMAT JSONEachRow",
            self.database
        );
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("param_workspace", workspace)
            .append_pair("param_call", &escaped(call))
            .append_pair("param_everybody", if agent.is_none() { "true" } else { "false" })
            .append_pair("param_agent", &escaped(agent.unwrap_or_default()))
            .append_pair("output_format_json_quote_64bit_integers", "0");
        let mut request = self.http.post(url);
        if !self.user.is_empty() {
            request =
                request.header("x-clickhouse-user", &self.user).header("x-clickhouse-key", self.password.reveal());
        }
        // The address carries the call's id.
        let without = reqwest::Error::without_url;
        let response = request.body(statement).timeout(ANSWER_WITHIN).send().await.map_err(without)?;
        let status = response.status();
        if !status.is_success() {
            let code = response.headers().get("x-clickhouse-exception-code").and_then(|code| code.to_str().ok());
            return Err(AnalyticsError::Refused {
                status: status.as_u16(),
                code: code.unwrap_or("without a code").to_owned(),
            });
        }
        let text = response.bytes().await.map_err(without)?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(serde_json::from_slice).collect::<Result<_, _>>()?)
    }
}

/// A text as ClickHouse reads the value of a parameter: tab separated, so that backslashes and white space are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
