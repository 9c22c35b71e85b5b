-- One row a call, by docs/rules.md "Calls": an order-free join of the call's facts, the same whatever their order,
-- repetition or cut. Columns and meanings are those of Postgres read.calls.
--
-- Per call: its facts once each (first arrival), split into events R, A, E by (occurred_at, id) and summaries S by
-- (received_at, id). "Latest that has one" is then the last of the list with a non-empty field. UUIDs are compared as
-- numbers: ClickHouse orders the UUID type by its halves, Rust and Postgres by its bytes. Times are milliseconds
-- until the end.
CREATE OR REPLACE VIEW {database}.calls SQL SECURITY INVOKER AS
WITH
arrived AS
(
    SELECT
        workspace_id,
        call_id,
        arraySort(fact -> fact.1, groupArray(tuple(
            arrival, toUInt128(fact_id),
            toInt8(indexOf(['CallRang', 'CallAnswered', 'CallEnded', 'CallSummarised'], toString(kind))),
            toUnixTimestamp64Milli(occurred_at), toUnixTimestamp64Micro(received_at),
            agent_id, toString(direction), caller, toString(did), toString(skill), toString(campaign), toString(hangup_by),
            answered, toUnixTimestamp64Milli(started_at), toUnixTimestamp64Milli(answered_at),
            toUnixTimestamp64Milli(ended_at), hold_seconds, wrap_up_seconds, agents, toString(disposition), recording_url
        )::Tuple(
            arrival UInt64, id UInt128, kind Int8, occurred_at Int64, received_at Int64,
            agent_id String, direction String, caller String, did String, skill String, campaign String, hangup_by String,
            answered Nullable(Bool), started_at Nullable(Int64), answered_at Nullable(Int64),
            ended_at Nullable(Int64), hold_seconds Nullable(Int32), wrap_up_seconds Nullable(Int32), agents Array(String),
            disposition String, recording_url String
        ))) AS arrivals
    FROM {database}.facts
    WHERE call_id != '' AND kind IN ('CallRang', 'CallAnswered', 'CallEnded', 'CallSummarised')
    GROUP BY workspace_id, call_id
),
listed AS
(
    SELECT
        workspace_id,
        call_id,
        arrayFilter((fact, nth) -> nth = 1, arrivals, arrayEnumerateUniq(arrivals.id)) AS facts_once,
        arraySort(fact -> (fact.occurred_at, fact.id), arrayFilter(fact -> fact.kind != 4, facts_once)) AS events,
        arraySort(fact -> (fact.received_at, fact.id), arrayFilter(fact -> fact.kind = 4, facts_once)) AS summaries,
        arrayFilter(fact -> fact.kind = 1, events) AS ringings,
        arrayFilter(fact -> fact.kind = 2, events) AS answers,
        arrayFilter(fact -> fact.kind = 3, events) AS ends
    FROM arrived
),
read AS
(
    SELECT
        workspace_id,
        call_id,
        arrayLast(said -> said != '', summaries.direction) AS direction_said,
        arrayLast(said -> said != '', summaries.caller) AS caller_said,
        arrayLast(said -> said != '', summaries.did) AS did_said,
        arrayLast(said -> said != '', summaries.skill) AS skill_said,
        arrayLast(said -> said != '', summaries.campaign) AS campaign_said,
        arrayLast(said -> said != '', summaries.hangup_by) AS hangup_by_said,
        arrayLast(said -> said IS NOT NULL, summaries.answered) AS answered_said,
        arrayLast(said -> said IS NOT NULL, summaries.started_at) AS started_at_said,
        arrayLast(said -> said IS NOT NULL, summaries.answered_at) AS answered_at_said,
        arrayLast(said -> said IS NOT NULL, summaries.ended_at) AS ended_at_said,
        arrayLast(said -> notEmpty(said), arrayMap(links -> arrayFilter(agent -> agent != '', links), summaries.agents)) AS chain,
        arrayElementOrNull(summaries.occurred_at, -1) AS summarised_at,
        arrayElementOrNull(ringings.occurred_at, 1) AS first_ringing,
        arrayElementOrNull(answers.occurred_at, 1) AS first_answer,
        arrayElementOrNull(arrayFilter((at, kind) -> kind != 1, events.occurred_at, events.kind), 1) AS first_answer_or_end,
        arrayElementOrNull(ends.occurred_at, -1) AS last_end,
        if(direction_said != '', direction_said, arrayLast(said -> said != '', events.direction)) AS direction_known,
        coalesce(started_at_said, first_ringing, first_answer_or_end, summarised_at) AS started,
        started_at_said IS NOT NULL OR first_ringing IS NOT NULL AS ringing_known,
        multiIf(
            answered_said IS NULL, first_answer,
            answered_said, coalesce(answered_at_said, first_answer, started),
            NULL) AS answered,
        coalesce(ended_at_said, last_end, summarised_at) AS ended,
        coalesce(answered, ended) - started AS waited,
        ended - answered AS talked,
        ended - started AS lasted,
        if(caller_said != '', caller_said, arrayLast(said -> said != '', events.caller)) AS caller_known,
        if(did_said != '', did_said, arrayLast(said -> said != '', events.did)) AS did_known,
        if(skill_said != '', skill_said, arrayLast(said -> said != '', events.skill)) AS skill_known,
        if(campaign_said != '', campaign_said, arrayLast(said -> said != '', events.campaign)) AS campaign_known,
        if(hangup_by_said != '', hangup_by_said, arrayLast(said -> said != '', ends.hangup_by)) AS hangup_by_known,
        arrayLast(agent -> agent != '', arrayConcat(
            [arrayLast(said -> said != '', ends.agent_id)],
            [arrayLast(said -> said != '', ringings.agent_id)],
            [arrayLast(said -> said != '', answers.agent_id)],
            chain)) AS agent_known,
        arrayDistinct(arrayConcat(chain, arrayFilter(agent -> agent != '', events.agent_id))) AS agent_ids,
        arrayLast(said -> said IS NOT NULL, summaries.hold_seconds) AS hold_seconds_said,
        arrayLast(said -> said IS NOT NULL, summaries.wrap_up_seconds) AS wrap_up_seconds_said,
        arrayLast(said -> said != '', summaries.disposition) AS disposition_said,
        arrayLast(said -> said != '', summaries.recording_url) AS recording_url_said
    FROM listed
)
SELECT
    read.workspace_id AS workspace_id,
    read.call_id AS call_id,
    nullIf(direction_known, '') AS direction,
    multiIf(
        ended IS NULL, 'in_progress',
        answered IS NOT NULL, 'answered',
        direction_known = 'outbound', 'no_answer',
        ringing_known AND intDiv(if(lasted < 0, 0, lasted), 1000) <= if(settings.known, settings.short_abandon_seconds, 10),
            'short_abandon',
        'missed') AS outcome,
    nullIf(caller_known, '') AS caller,
    nullIf(did_known, '') AS did,
    nullIf(campaign_known, '') AS campaign,
    nullIf(skill_known, '') AS skill,
    nullIf(agent_known, '') AS agent_id,
    agent_ids,
    fromUnixTimestamp64Milli(assumeNotNull(started), 'UTC') AS started_at,
    fromUnixTimestamp64Milli(answered, 'UTC') AS answered_at,
    fromUnixTimestamp64Milli(ended, 'UTC') AS ended_at,
    -- Not greatest(): it skips NULL in some versions of ClickHouse and not in others.
    intDiv(if(waited < 0, 0, waited), 1000) AS wait_seconds,
    intDiv(if(talked < 0, 0, talked), 1000) AS talk_seconds,
    toInt64(hold_seconds_said) AS hold_seconds,
    toInt64(wrap_up_seconds_said) AS wrap_up_seconds,
    nullIf(disposition_said, '') AS disposition,
    nullIf(hangup_by_known, '') AS hangup_by,
    nullIf(recording_url_said, '') AS recording_url,
    -- No decision takes part in ended_at yet, so no end rests on one.
    false AS presumed
FROM read
LEFT JOIN
(
    SELECT workspace_id, short_abandon_seconds, true AS known
    FROM {database}.workspace_settings FINAL
) AS settings ON settings.workspace_id = read.workspace_id
