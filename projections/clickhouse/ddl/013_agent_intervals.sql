-- One row an interval of an agent's state, by docs/rules.md "Agents and their intervals": as in 005, and with decisions. A
-- decision holds while the last state fact before it is the one it rests on; else it is dropped before any rule.
CREATE OR REPLACE VIEW {database}.agent_intervals SQL SECURITY INVOKER AS
WITH
-- Each fact once, at its first arrival.
facts_once AS
(
    SELECT
        workspace_id,
        agent_id,
        fact_id AS fact,
        min(arrival) AS arrived,
        argMin(
            (
                toUnixTimestamp64Milli(occurred_at),
                kind IN ('CallRang', 'CallAnswered'),
                kind = 'Decided',
                multiIf(
                    kind = 'Unknown', 'unknown',
                    kind = 'Decided', if(decision = 'WrapUpExpired', 'ready', 'offline'),
                    toString(state)),
                multiIf(
                    kind = 'Unknown', toString(unknown_word),
                    decision = 'WrapUpExpired', 'wrap_up_expired',
                    decision = 'AgentPresumedOffline', 'presumed',
                    decision = 'SessionClosed', 'day_end',
                    toString(reason)),
                call_id,
                toUUIDOrNull(evidence[1])
            )::Tuple(
                at Int64, is_touch Bool, is_decision Bool, state String, reason String, call_id String,
                rests_on Nullable(UUID)),
            arrival) AS said
    FROM {database}.facts
    WHERE agent_id != ''
        AND (kind = 'AgentStateChanged'
            OR (kind = 'Unknown' AND unknown_event = 'agent')
            OR (kind IN ('CallRang', 'CallAnswered') AND call_id != '')
            OR (kind = 'Decided' AND decision IN ('WrapUpExpired', 'AgentPresumedOffline', 'SessionClosed')))
    GROUP BY workspace_id, agent_id, fact_id
),
grounded AS
(
    SELECT
        workspace_id,
        agent_id,
        arrived,
        said,
        last_value(if(said.is_touch OR said.is_decision, NULL, fact)) IGNORE NULLS OVER
            (PARTITION BY workspace_id, agent_id ORDER BY said.at, arrived ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
            AS last_state
    FROM facts_once
),
-- Rule 1: of the states of one moment the last to arrive; and of its touches likewise.
moments AS
(
    SELECT
        workspace_id,
        agent_id,
        said.at AS at,
        said.is_touch AS is_touch,
        argMax(
            (said.state, said.reason, said.call_id, said.is_decision)::Tuple(
                state String, reason String, call_id String, presumed Bool),
            arrived) AS last
    FROM grounded
    WHERE NOT said.is_decision OR ifNull(last_state = said.rests_on, false)
    GROUP BY workspace_id, agent_id, at, is_touch
),
-- What stood before each moment: the state, and the touch. A state comes before a touch of the same moment.
stream AS
(
    SELECT
        workspace_id,
        agent_id,
        at,
        is_touch,
        last.state AS state,
        last.reason AS reason,
        last.presumed AS presumed,
        last_value(if(is_touch, NULL, last.presumed)) IGNORE NULLS OVER earlier AS presumed_before,
        last_value(if(is_touch, NULL, last.state)) IGNORE NULLS OVER earlier AS state_before,
        last_value(if(is_touch, NULL, last.reason)) IGNORE NULLS OVER earlier AS reason_before,
        last_value(if(is_touch, at, NULL)) IGNORE NULLS OVER earlier AS touched_before,
        last_value(if(is_touch, last.call_id, NULL)) IGNORE NULLS OVER earlier AS call_before,
        last_value(if(is_touch, at, NULL)) IGNORE NULLS OVER ever AS touched_last,
        last_value(if(is_touch, last.call_id, NULL)) IGNORE NULLS OVER ever AS call_last
    FROM moments
    WINDOW
        earlier AS (PARTITION BY workspace_id, agent_id ORDER BY at, is_touch ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
        ever AS (PARTITION BY workspace_id, agent_id ORDER BY at, is_touch ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
),
-- Rules 2 and 3. What stood before an interval's end is what its successor saw before itself.
intervals AS
(
    SELECT
        workspace_id,
        agent_id,
        at,
        state,
        reason,
        presumed,
        state IN ('ringing', 'on_call', 'wrap_up') AS belongs_to_call,
        leadInFrame(toNullable(at)) OVER by_agent AS ended,
        leadInFrame(touched_before, 1, touched_last) OVER by_agent AS touched,
        leadInFrame(call_before, 1, call_last) OVER by_agent AS call,
        countIf(NOT belongs_to_call) OVER so_far AS run
    FROM stream
    WHERE NOT is_touch
        AND (state_before IS NULL OR state != state_before OR reason != reason_before OR presumed != presumed_before
            OR state IN ('ringing', 'on_call', 'wrap_up'))
    WINDOW
        by_agent AS (PARTITION BY workspace_id, agent_id ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING),
        so_far AS (PARTITION BY workspace_id, agent_id ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
-- Rule 4: the own touch, if it is not too early; else, within an unbroken run of ringing, on_call and wrap_up, the
-- last own touch of the intervals before.
SELECT
    workspace_id,
    agent_id,
    state,
    nullIf(reason, '') AS reason,
    fromUnixTimestamp64Milli(at, 'UTC') AS started_at,
    fromUnixTimestamp64Milli(ended, 'UTC') AS ended_at,
    if(belongs_to_call,
        last_value(if(state != 'wrap_up' AND belongs_to_call AND touched >= at - 5000, call, NULL)) IGNORE NULLS OVER in_run,
        NULL) AS call_id,
    presumed
FROM intervals
WINDOW in_run AS
(
    PARTITION BY workspace_id, agent_id, run ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
)
