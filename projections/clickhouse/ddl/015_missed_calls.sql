-- One row an obligation, by docs/rules.md "Missed calls" and each workspace's rules; columns and meanings are those of
-- Postgres read.missed_calls. Calls are read once: each gives a point at its start and, if it was missed, one at its end and
-- one just before the window in which the caller's other misses count. Per caller these are read by running windows, so
-- that a caller of many calls costs no more than many callers of few.
CREATE OR REPLACE VIEW {database}.missed_calls SQL SECURITY INVOKER AS
WITH
-- What people did about a call, each decision once; in somebody's name, or not at all.
handled AS
(
    SELECT
        workspace_id,
        call_id AS handled_call,
        arraySort(groupUniqArrayIf(
            (toUnixTimestamp64Milli(occurred_at), toUInt128(fact_id), decision = 'MissedCallClaimed', attributes['by'])::Tuple(
                at Int64, id UInt128, claims Bool, by String),
            decision = 'MissedCallReleased' OR (decision = 'MissedCallClaimed' AND attributes['by'] != ''))) AS claims,
        -- Who holds it: who claimed it first since it was last released.
        arraySlice(claims, arrayLastIndex(claim -> NOT claim.claims, claims) + 1, 1) AS holder,
        countIf(decision = 'MissedCallWaived' AND attributes['by'] != '') > 0 AS is_waived,
        minIf(
            (toUnixTimestamp64Milli(occurred_at), attributes['by']),
            decision = 'MissedCallWaived' AND attributes['by'] != '') AS waive
    FROM {database}.facts
    WHERE call_id != '' AND kind = 'Decided'
        AND decision IN ('MissedCallClaimed', 'MissedCallReleased', 'MissedCallWaived')
    GROUP BY workspace_id, call_id
),
ruled AS
(
    SELECT
        workspace_id,
        (
            due_after_seconds, attempts, priority_missed, priority_short_abandon, priority_repeat, priority_repeat_most,
            priority_repeat_window_seconds, priority_per_attempt, priority_spam, spam_dispositions
        ) AS said,
        toString(country_code) AS country_code_said,
        true AS known
    FROM {database}.workspace_settings FINAL
),
-- Callers are one by their number however it is written ("Callers"). A call without one is linked to nothing: it is the only
-- one of its `link`.
stream AS
(
    SELECT
        replaceRegexpOne(replaceRegexpAll(ifNull(caller, ''), '[^0-9]', ''), '^00', '') AS number,
        multiIf(length(number) = 10, number, match(number, '^0[0-9]{10}$'), substring(number, 2), '') AS national_number,
        if(national_number = '', number, concat(if(ruled.known, ruled.country_code_said, '91'), national_number)) AS caller_key,
        calls.workspace_id AS workspace_id,
        call_id,
        caller,
        did,
        outcome,
        (caller_key != '', if(caller_key != '', caller_key, call_id)) AS link,
        answered_at,
        disposition,
        ifNull(direction = 'outbound', false) AS is_outbound,
        if(ruled.known, ruled.said, (600, 3, 100, 50, 10, 50, 86400, -10, -80, []))::Tuple(
            due_after Int64, attempts Int64, missed Int64, short_abandon Int64, repeat Int64, repeat_most Int64,
            repeat_window Int64, per_attempt Int64, spam Int64, spam_dispositions Array(String)) AS rules,
        toUnixTimestamp64Milli(ended_at) AS ended,
        -- 0: its start; 1: its end, where it was missed; 2: just before the window of the misses that count as repeats.
        arrayJoin(if(outcome IN ('missed', 'short_abandon'), [0, 1, 2], [0])) AS point,
        multiIf(
            point = 0, toUnixTimestamp64Milli(started_at),
            point = 1, assumeNotNull(ended),
            assumeNotNull(ended) - rules.repeat_window * 1000 - 1) AS at
    FROM {database}.calls AS calls
    LEFT JOIN ruled ON ruled.workspace_id = calls.workspace_id
),
followed AS
(
    SELECT
        *,
        -- Of the answered calls that started at `at` or later: the first by (answered_at, call id).
        countIf(point = 0 AND answered_at IS NOT NULL) OVER from_here AS answers,
        minIf(
            (toUnixTimestamp64Milli(assumeNotNull(answered_at)), call_id, is_outbound),
            point = 0 AND answered_at IS NOT NULL) OVER from_here AS answer,
        -- Of the attempts that started at `at` or later and ended unanswered: the first ends, as many as a rule may ask for.
        groupArraySortedIf(100)((assumeNotNull(ended), call_id), point = 0 AND outcome = 'no_answer') OVER from_here
            AS failures,
        countIf(point = 0 AND is_outbound) OVER from_here AS outbound_from_here,
        countIf(point = 0 AND is_outbound) OVER ever AS outbound_ever,
        countIf(point = 0 AND is_spam) OVER ever > 0 AS spam_ever,
        minIf(at, point = 0 AND is_spam) OVER ever AS spam_since,
        countIf(point = 1) OVER so_far AS missed_so_far
    FROM
    (
        SELECT *, answered_at IS NOT NULL AND has(rules.spam_dispositions, ifNull(disposition, '')) AS is_spam
        FROM stream
    )
    WINDOW
        from_here AS (PARTITION BY workspace_id, link ORDER BY at DESC RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
        so_far AS (PARTITION BY workspace_id, link ORDER BY at ASC RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
        ever AS (PARTITION BY workspace_id, link)
),
closed AS
(
    SELECT
        *,
        arraySort(arrayConcat(
            if(answers > 0, [(answer.1, 0, answer.2, if(answer.3, 'reached', 'rang_again'))], []),
            if(rules.attempts BETWEEN 1 AND length(failures),
                [(failures[rules.attempts].1, 1, failures[rules.attempts].2, 'attempts_exhausted')], []),
            -- Nothing is closed before it is there, though the waive may have been told of a shorter call.
            if(is_waived, [(greatest(waive.1, at), 2, waive.2, 'waived')], []))::Array(Tuple(
                at Int64, rank UInt8, by String, reason String))) AS closings,
        notEmpty(closings) AS is_closed,
        closings[1] AS closing
    FROM followed
    LEFT JOIN handled ON handled.workspace_id = followed.workspace_id AND handled.handled_call = followed.call_id
),
-- Attempts are the outbound calls from `at` until the closing: those until the closing, less those before `at`.
counted AS
(
    SELECT
        *,
        multiIf(point = 0, at, point = 1 AND is_closed, closing.at, 9223372036854775807) AS until,
        countIf(point = 0 AND is_outbound) OVER
            (PARTITION BY workspace_id, link ORDER BY until ASC RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
            AS outbound_until,
        -- An answer that the facts put before the miss it closes leaves no time for an attempt.
        greatest(toInt64(outbound_until) - (toInt64(outbound_ever) - toInt64(outbound_from_here)), 0) AS attempts,
        toInt64(missed_so_far) - toInt64(maxIf(missed_so_far, point = 2) OVER (PARTITION BY workspace_id, call_id)) - 1
            AS others_missed
    FROM closed
)
SELECT
    workspace_id,
    call_id,
    caller,
    did,
    fromUnixTimestamp64Milli(at, 'UTC') AS missed_at,
    if(is_closed, 'closed', 'open') AS status,
    attempts,
    if(outcome = 'short_abandon', rules.short_abandon, rules.missed)
        + least(rules.repeat * others_missed, rules.repeat_most)
        + rules.per_attempt * attempts
        + if(spam_ever AND spam_since < at, rules.spam, 0) AS priority,
    fromUnixTimestamp64Milli(at + rules.due_after * 1000, 'UTC') AS due_at,
    if(is_closed, fromUnixTimestamp64Milli(closing.at, 'UTC'), NULL) AS closed_at,
    if(is_closed, closing.by, NULL) AS closed_by,
    if(is_closed, closing.reason, NULL) AS closed_reason,
    if(NOT is_closed AND notEmpty(holder), holder[1].by, NULL) AS claimed_by,
    if(NOT is_closed AND notEmpty(holder), fromUnixTimestamp64Milli(holder[1].at, 'UTC'), NULL) AS claimed_at
FROM counted
WHERE point = 1
