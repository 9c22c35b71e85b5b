-- One row an obligation, by docs/rules.md "Missed calls"; columns and meanings are those of Postgres
-- read.missed_calls. Calls are read once: each gives a row at its start and, if it was missed, one at its end. Per
-- caller these are read by running windows, so that a caller of many calls costs no more than many callers of few.
CREATE OR REPLACE VIEW {database}.missed_calls SQL SECURITY INVOKER AS
WITH
-- A call without a caller is linked to nothing: it is the only one of its `link`.
stream AS
(
    SELECT
        workspace_id,
        call_id,
        caller,
        did,
        outcome,
        (caller IS NOT NULL, coalesce(caller, call_id)) AS link,
        answered_at,
        direction = 'outbound' AS is_outbound,
        arrayJoin(if(outcome IN ('missed', 'short_abandon'), [false, true], [false])) AS is_missed,
        toUnixTimestamp64Milli(if(is_missed, assumeNotNull(ended_at), started_at)) AS at
    FROM {database}.calls
),
followed AS
(
    SELECT
        *,
        -- Of the answered calls that started at `at` or later: the first by (answered_at, call id).
        countIf(NOT is_missed AND answered_at IS NOT NULL) OVER from_here AS closings,
        minIf(
            (toUnixTimestamp64Milli(assumeNotNull(answered_at)), call_id, ifNull(is_outbound, false)),
            NOT is_missed AND answered_at IS NOT NULL) OVER from_here AS closing,
        countIf(NOT is_missed AND is_outbound) OVER from_here AS outbound_from_here,
        countIf(NOT is_missed AND is_outbound) OVER ever AS outbound_ever,
        countIf(is_missed) OVER day_before - 1 AS others_missed
    FROM stream
    WINDOW
        from_here AS (PARTITION BY workspace_id, link ORDER BY at DESC RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
        day_before AS (PARTITION BY workspace_id, link ORDER BY at ASC RANGE BETWEEN 86400000 PRECEDING AND CURRENT ROW),
        ever AS (PARTITION BY workspace_id, link)
),
-- Attempts are the outbound calls from `at` until the closing: those until the closing, less those before `at`.
counted AS
(
    SELECT
        *,
        closings > 0 AS is_closed,
        multiIf(NOT is_missed, at, is_closed, closing.1, 9223372036854775807) AS until,
        countIf(NOT is_missed AND is_outbound) OVER
            (PARTITION BY workspace_id, link ORDER BY until ASC RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
            AS outbound_until
    FROM followed
)
SELECT
    workspace_id,
    call_id,
    caller,
    did,
    fromUnixTimestamp64Milli(at, 'UTC') AS missed_at,
    if(is_closed, 'closed', 'open') AS status,
    -- An answer that the facts put before the miss it closes leaves no time for an attempt.
    greatest(toInt64(outbound_until) - (toInt64(outbound_ever) - toInt64(outbound_from_here)), 0) AS attempts,
    if(outcome = 'short_abandon', 50, 100) + least(10 * others_missed, 50) AS priority,
    fromUnixTimestamp64Milli(at + 600000, 'UTC') AS due_at,
    if(is_closed, fromUnixTimestamp64Milli(closing.1, 'UTC'), NULL) AS closed_at,
    if(is_closed, closing.2, NULL) AS closed_by,
    multiIf(NOT is_closed, NULL, closing.3, 'reached', 'rang_again') AS closed_reason
FROM counted
WHERE is_missed
