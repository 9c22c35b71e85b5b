-- One row a call, by docs/rules.md "Calls": as in 004, and with the end by decision (CallPresumedEnded), ends that hold only
-- where nothing of the call is heard later, what does not fit together (conflicts), and the durations as sent. The legs of a call are in Postgres alone.
CREATE OR REPLACE VIEW {database}.calls SQL SECURITY INVOKER AS
WITH
arrived AS
(
    SELECT
        workspace_id,
        call_id,
        arraySort(fact -> fact.1, groupArray(tuple(
            arrival, toUInt128(fact_id),
            toInt8(indexOf(['CallRang', 'CallAnswered', 'CallEnded', 'CallSummarised', 'Decided'], toString(kind))),
            toUnixTimestamp64Milli(occurred_at), toUnixTimestamp64Micro(received_at),
            agent_id, toString(direction), caller, toString(did), toString(skill), toString(campaign), toString(hangup_by),
            answered, toUnixTimestamp64Milli(started_at), toUnixTimestamp64Milli(answered_at),
            toUnixTimestamp64Milli(ended_at), hold_seconds, wrap_up_seconds, agents, toString(disposition), recording_url,
            call_seconds, talk_seconds, toString(dial_status)
        )::Tuple(
            arrival UInt64, id UInt128, kind Int8, occurred_at Int64, received_at Int64,
            agent_id String, direction String, caller String, did String, skill String, campaign String, hangup_by String,
            answered Nullable(Bool), started_at Nullable(Int64), answered_at Nullable(Int64),
            ended_at Nullable(Int64), hold_seconds Nullable(Int32), wrap_up_seconds Nullable(Int32), agents Array(String),
            disposition String, recording_url String,
            call_seconds Nullable(Int32), talk_seconds Nullable(Int32), dial_status String
        ))) AS arrivals
    FROM {database}.facts
    WHERE call_id != ''
        AND (kind IN ('CallRang', 'CallAnswered', 'CallEnded', 'CallSummarised')
            OR (kind = 'Decided' AND decision = 'CallPresumedEnded'))
    GROUP BY workspace_id, call_id
),
listed AS
(
    SELECT
        workspace_id,
        call_id,
        arrayFilter((fact, nth) -> nth = 1, arrivals, arrayEnumerateUniq(arrivals.id)) AS facts_once,
        arraySort(fact -> (fact.occurred_at, fact.id), arrayFilter(fact -> fact.kind < 4, facts_once)) AS events,
        arraySort(fact -> (fact.received_at, fact.id), arrayFilter(fact -> fact.kind = 4, facts_once)) AS summaries,
        arrayFilter(fact -> fact.kind = 1, events) AS ringings,
        arrayFilter(fact -> fact.kind = 2, events) AS answers,
        arrayFilter(fact -> fact.kind = 3, events) AS ends,
        arrayFilter(fact -> fact.kind = 5, facts_once).occurred_at AS presumed_ends
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
        -- The latest end by decision.
        arrayElementOrNull(arraySort(presumed_ends), -1) AS presumed_end,
        -- What rang or was answered after an end, or a presumed one, went on.
        arrayElementOrNull(arrayFilter((at, kind) -> kind != 3, events.occurred_at, events.kind), -1) AS last_heard,
        if(direction_said != '', direction_said, arrayLast(said -> said != '', events.direction)) AS direction_known,
        coalesce(started_at_said, first_ringing, first_answer_or_end, summarised_at) AS started,
        started_at_said IS NOT NULL OR first_ringing IS NOT NULL AS ringing_known,
        multiIf(
            answered_said IS NULL, first_answer,
            answered_said, coalesce(answered_at_said, first_answer, started),
            NULL) AS answered,
        coalesce(ended_at_said, if(last_heard > last_end, NULL, last_end), summarised_at) AS really_ended,
        coalesce(really_ended, if(last_heard > presumed_end, NULL, presumed_end)) AS ended,
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
        arrayLast(said -> said != '', summaries.recording_url) AS recording_url_said,
        arrayLast(said -> said IS NOT NULL, summaries.call_seconds) AS call_seconds_said,
        arrayLast(said -> said IS NOT NULL, summaries.talk_seconds) AS talk_seconds_said,
        -- A word for each leg, however it is written.
        arrayLast(words -> notEmpty(words), arrayMap(
            chain -> arrayFilter(word -> word != '', arrayMap(
                word -> lowerUTF8(replaceRegexpAll(word, '[^\\p{L}\\p{N}]', '')), splitByString('->', chain))),
            summaries.dial_status)) AS dialled
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
    toBool(really_ended IS NULL AND ended IS NOT NULL) AS presumed,
    arrayFilter(word -> word != '', [
        if(ifNull(abs(call_seconds_said - intDiv(if(lasted < 0, 0, lasted), 1000)) > 1, false), 'call_seconds', ''),
        if(ifNull(lasted < 0, false), 'ended_before_start', ''),
        if(ifNull(if(answered_said, notEmpty(dialled) AND NOT has(dialled, 'answered'), first_answer IS NOT NULL), false)
            AND answered_said IS NOT NULL, 'status', ''),
        if(ifNull(abs(talk_seconds_said - talk_seconds) > 1, false), 'talk_seconds', '')]) AS conflicts,
    toInt64(call_seconds_said) AS call_seconds_sent,
    toInt64(talk_seconds_said) AS talk_seconds_sent
FROM read
LEFT JOIN
(
    SELECT workspace_id, short_abandon_seconds, true AS known
    FROM {database}.workspace_settings FINAL
) AS settings ON settings.workspace_id = read.workspace_id
-- Decisions alone are no call.
WHERE started IS NOT NULL
