//! What is counted of calls, by interval of their beginning: of the calls themselves, or of each agent's share in them
//! (docs/metrics.md, "By agent").
//!
//! The metrics, an agent's performance and the list of agents all count here, so that a word means the same in each.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, query_as};

use crate::{database::DatabaseError, serve::App};

/// By what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Agent,
    Queue,
    Did,
}

impl By {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Queue => "queue",
            Self::Did => "did",
        }
    }
}

/// One interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}

/// Whose calls are counted. Of one agent its shares are. The empty queue or DID is what has none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Only<'a> {
    pub(crate) agent: Option<&'a str>,
    pub(crate) queue: Option<&'a str>,
    pub(crate) did: Option<&'a str>,
}

/// What is counted of an interval and agent, queue or DID.
#[derive(Debug, Clone, Default, FromRow)]
pub(crate) struct Counts {
    place: i32,
    by_value: String,
    pub(crate) offered: i64,
    pub(crate) answered: i64,
    pub(crate) missed: i64,
    pub(crate) short_abandoned: i64,
    pub(crate) in_progress: i64,
    pub(crate) answered_within: i64,
    pub(crate) wait_seconds: i64,
    pub(crate) handled: i64,
    pub(crate) talk_seconds: i64,
    pub(crate) wrap_up_seconds: i64,
}

/// What was counted, by group and then by interval.
pub(crate) type Counted = BTreeMap<String, BTreeMap<usize, Counts>>;

/// $1 workspace, $2 where the intervals begin, $3 where the last ends, $4 by what, $5 T, $6 the one agent, $7 the one queue, $8
/// the one DID, $9 now. The time that agents were in wrap-up after a call; it may have begun when the range was over.
macro_rules! with_wrap_ups {
    ($rest:literal) => {
        concat!(
            "with wrapped as (
                select i.call_id, i.agent_id,
                       sum(greatest(0, floor(date_part('epoch', least(i.ended_at, $9)))::bigint
                                       - floor(date_part('epoch', i.started_at))::bigint))::bigint as seconds
                from read.agent_intervals i
                where i.workspace_id = $1 and i.state = 'wrap_up' and i.call_id is not null
                  and i.started_at >= $2[1] and i.started_at < $3 + interval '1 day' and ($6::text is null or i.agent_id = $6)
                group by 1, 2
            ), ",
            $rest,
            " select width_bucket(s.started_at, $2::timestamptz[]) as place, s.by_value,
                   count(*) filter (where s.inbound) as offered,
                   count(*) filter (where s.inbound and s.outcome = 'answered') as answered,
                   count(*) filter (where s.inbound and s.outcome = 'missed') as missed,
                   count(*) filter (where s.inbound and s.outcome = 'short_abandon') as short_abandoned,
                   count(*) filter (where s.inbound and s.outcome = 'in_progress') as in_progress,
                   count(*) filter (where s.inbound and s.outcome = 'answered' and s.wait_seconds <= $5) as answered_within,
                   coalesce(sum(s.wait_seconds) filter (where s.inbound and s.outcome = 'answered'), 0)::bigint as wait_seconds,
                   count(*) filter (where s.outcome = 'answered') as handled,
                   coalesce(sum(s.talk_seconds) filter (where s.outcome = 'answered'), 0)::bigint as talk_seconds,
                   coalesce(sum(s.wrap_up_seconds), 0)::bigint as wrap_up_seconds
            from shares s
            group by 1, 2"
        )
    };
}

/// Each call is one.
const OF_CALLS: &str = with_wrap_ups!(
    "shares as (
        select c.started_at, c.outcome, c.wait_seconds, c.talk_seconds,
               coalesce(case $4 when 'queue' then c.skill when 'did' then c.did end, '') as by_value,
               c.direction is distinct from 'outbound' as inbound,
               case when c.outcome = 'answered' then w.seconds end as wrap_up_seconds
        from read.calls c
        left join (select call_id, sum(seconds) as seconds from wrapped group by 1) w on w.call_id = c.call_id
        where c.workspace_id = $1 and c.started_at >= $2[1] and c.started_at < $3
          and ($7::text is null or coalesce(c.skill, '') = $7) and ($8::text is null or coalesce(c.did, '') = $8)
    )"
);

/// Each agent that a call came to has a share in it: one row for the call and the agent, by the agent's own legs. A call that
/// came to nobody is one share of the empty agent. Where the call was answered and no leg was, its handling agent's was. Of
/// several answered legs each has the talk that its events tell, and the last of those without has the rest.
const OF_AGENTS: &str = with_wrap_ups!(
    "legs as (
        select c.call_id, c.started_at, c.outcome, c.wait_seconds, c.talk_seconds as whole, c.skill, c.did,
               c.direction is distinct from 'outbound' as inbound, c.agent_id as handler,
               l.agent_id, l.position, l.talk_seconds, l.outcome = 'answered' as answered, l.outcome = 'in_progress' as rings,
               count(*) filter (where l.outcome = 'answered') over of_call as answers,
               coalesce(sum(l.talk_seconds) filter (where l.outcome = 'answered') over of_call, 0) as known,
               max(l.position) filter (where l.outcome = 'answered' and l.talk_seconds is null) over of_call as rest_at
        from read.calls c
        left join read.call_legs l on l.workspace_id = $1 and l.call_id = c.call_id and l.agent_id is not null
        where c.workspace_id = $1 and c.started_at >= $2[1] and c.started_at < $3
          and ($6::text is null or $6 = any (c.agent_ids))
          and ($7::text is null or coalesce(c.skill, '') = $7) and ($8::text is null or coalesce(c.did, '') = $8)
        window of_call as (partition by c.call_id)
    ), parts as (
        select call_id, agent_id, started_at, outcome, wait_seconds, skill, did, inbound,
               coalesce(bool_or(answered), false)
                   or answers = 0 and outcome = 'answered' and agent_id is not distinct from handler as answered,
               agent_id is null or bool_or(answered or rings) as is_on,
               case when answers <= 1 then whole
                    else sum(case when answered
                                  then coalesce(talk_seconds, case when position = rest_at then greatest(0, whole - known) else 0 end)
                             end) end as talk_seconds
        from legs
        where $6::text is null or agent_id = $6
        group by call_id, agent_id, started_at, outcome, wait_seconds, skill, did, inbound, handler, answers, whole, known, rest_at
    ), shares as (
        select p.started_at, p.wait_seconds, p.inbound, p.talk_seconds,
               coalesce(case $4 when 'agent' then p.agent_id when 'queue' then p.skill when 'did' then p.did end, '') as by_value,
               case when p.outcome = 'answered' then case when p.answered then 'answered' else 'missed' end
                    when p.outcome = 'in_progress' then case when p.is_on then 'in_progress' else 'missed' end
                    else p.outcome end as outcome,
               case when p.outcome = 'answered' then w.seconds end as wrap_up_seconds
        from parts p
        left join wrapped w on w.call_id = p.call_id and w.agent_id = p.agent_id
    )"
);

/// Counts.
///
/// # Errors
/// Where Postgres does not answer in time.
pub(crate) async fn count(
    moment: &mut PgConnection,
    app: &App,
    cuts: &[Cut],
    by: Option<By>,
    only: Only<'_>,
) -> Result<Counted, DatabaseError> {
    let of_agents = by == Some(By::Agent) || only.agent.is_some();
    let froms: Vec<DateTime<Utc>> = cuts.iter().map(|cut| cut.from).collect();
    let asked = query_as(if of_agents { OF_AGENTS } else { OF_CALLS })
        .bind(app.workspace())
        .bind(&froms)
        .bind(cuts.last().map(|cut| cut.to))
        .bind(by.map(By::as_str))
        .bind(app.api.service_level_seconds)
        .bind(only.agent)
        .bind(only.queue)
        .bind(only.did)
        .bind(app.provider_now());
    let found: Vec<Counts> = asked.fetch_all(moment).await?;
    let mut counted = Counted::new();
    for counts in found {
        // Places are counted from 1 in SQL.
        let place = usize::try_from(counts.place).ok().and_then(|number| number.checked_sub(1));
        let place = place.ok_or_else(|| DatabaseError::unreadable("an interval that was not asked for"))?;
        counted.entry(counts.by_value.clone()).or_default().insert(place, counts);
    }
    Ok(counted)
}
