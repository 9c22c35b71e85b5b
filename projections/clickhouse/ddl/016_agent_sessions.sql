-- One row a session, by docs/rules.md "Sessions": a maximal run of intervals in which the agent is not offline. Seconds are
-- differences of moments cut to whole seconds, so that the states add up to signed_in_seconds exactly; an interval that
-- is open counts nothing yet. Columns and meanings are those of Postgres read.agent_sessions.
CREATE OR REPLACE VIEW {database}.agent_sessions SQL SECURITY INVOKER AS
WITH
numbered AS
(
    SELECT
        workspace_id,
        agent_id,
        state,
        started_at AS began,
        ended_at AS ended,
        intDiv(toUnixTimestamp64Milli(ended_at), 1000) - intDiv(toUnixTimestamp64Milli(started_at), 1000) AS seconds,
        countIf(state = 'offline') OVER so_far AS run,
        leadInFrame((presumed, reason)::Tuple(presumed Bool, reason Nullable(String))) OVER by_agent AS next
    FROM {database}.agent_intervals
    WINDOW
        so_far AS (PARTITION BY workspace_id, agent_id ORDER BY started_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
        by_agent AS (PARTITION BY workspace_id, agent_id ORDER BY started_at ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
),
runs AS
(
    SELECT
        workspace_id,
        agent_id,
        min(began) AS first,
        argMax((ended, next)::Tuple(ended Nullable(DateTime64(3, 'UTC')), next Tuple(presumed Bool, reason Nullable(String))), began)
            AS last,
        sum(ifNull(seconds, 0)) AS signed_in,
        sumMap(map(toString(state), ifNull(seconds, 0))) AS by_state
    FROM numbered
    WHERE state != 'offline'
    GROUP BY workspace_id, agent_id, run
)
SELECT
    workspace_id,
    agent_id,
    first AS started_at,
    last.ended AS ended_at,
    multiIf(
        last.ended IS NULL, NULL,
        NOT last.next.presumed, 'logout',
        last.next.reason = 'day_end', 'day_end',
        'presumed') AS ended_by,
    signed_in AS signed_in_seconds,
    by_state['ready'] AS ready_seconds,
    by_state['ringing'] AS ringing_seconds,
    by_state['on_call'] AS on_call_seconds,
    by_state['wrap_up'] AS wrap_up_seconds,
    by_state['paused'] AS paused_seconds,
    by_state['unknown'] AS unknown_seconds
FROM runs
