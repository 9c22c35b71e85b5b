//! `GET /api/missed-calls/summary`: how much is on the worklist, of all queues or of one. It shows no caller's number, so that a
//! wall can ask for it all day.

use axum::{Json, extract::State};
use helix_kit::problem::Problem;
use serde::Serialize;
use sqlx::FromRow;

use super::{Moment, query::Params};
use crate::{
    access::{Part, Viewer},
    database::DatabaseError,
    serve::App,
};

#[derive(Debug, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Obligations that are open, claimed or not.
    open: i64,
    /// Of those, due before now.
    overdue: i64,
    /// Of those, claimed.
    claimed: i64,
    oldest_missed_at: Option<Moment>,
}

/// $1 workspace, $2 now, $3 the one queue; the empty text is of calls without one.
const OPEN: &str = "
select count(*) as open, count(*) filter (where m.due_at < $2) as overdue,
       count(*) filter (where m.claimed_by is not null) as claimed, min(m.missed_at) as oldest_missed_at
from read.missed_calls m
left join read.calls c on $3::text is not null and c.workspace_id = m.workspace_id and c.call_id = m.call_id
where m.workspace_id = $1 and m.status = 'open' and ($3::text is null or coalesce(c.skill, '') = $3)";

pub(crate) async fn summary(State(app): State<App>, viewer: Viewer, params: Params) -> Result<Json<Summary>, Problem> {
    viewer.may(Part::Worklist)?;
    let asked = sqlx::query_as(OPEN).bind(app.workspace()).bind(app.provider_now()).bind(params.label("queue")?);
    let found = asked.fetch_one(app.api.database.pool()).await.map_err(DatabaseError::from)?;
    Ok(Json(found))
}
