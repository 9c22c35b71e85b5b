-- Each agent's present: as in 006, and whether it rests on a decision.
CREATE OR REPLACE VIEW {database}.agents SQL SECURITY INVOKER AS
WITH
last_intervals AS
(
    SELECT
        workspace_id,
        agent_id,
        max(started_at) AS since,
        argMax(
            (state, reason, call_id, presumed)::Tuple(
                state String, reason Nullable(String), call_id Nullable(String), presumed Bool),
            started_at) AS present
    FROM {database}.agent_intervals
    GROUP BY workspace_id, agent_id
),
facts_once AS
(
    SELECT
        workspace_id,
        agent_id,
        min(arrival) AS arrived,
        argMin(
            (occurred_at, agent_name, toString(mode))::Tuple(at DateTime64(3, 'UTC'), name String, mode String),
            arrival) AS said
    FROM {database}.facts
    WHERE agent_id != '' AND (kind = 'AgentStateChanged' OR (kind = 'Unknown' AND unknown_event = 'agent'))
    GROUP BY workspace_id, agent_id, fact_id
),
registers AS
(
    SELECT
        workspace_id,
        agent_id,
        argMaxIf(said.name, (said.at, arrived), said.name != '') AS name,
        argMaxIf(said.mode, (said.at, arrived), said.mode != '') AS mode
    FROM facts_once
    GROUP BY workspace_id, agent_id
)
SELECT
    last_intervals.workspace_id AS workspace_id,
    last_intervals.agent_id AS agent_id,
    nullIf(registers.name, '') AS name,
    present.state AS state,
    since,
    present.reason AS reason,
    nullIf(registers.mode, '') AS mode,
    present.call_id AS call_id,
    present.presumed AS presumed
FROM last_intervals
INNER JOIN registers
    ON registers.workspace_id = last_intervals.workspace_id AND registers.agent_id = last_intervals.agent_id
