-- Every fact of the log, one row an arrival until a merge, one row a fact after it.
--
-- Sorting key: all facts of a call lie together, so that `calls` is aggregated in key order and a single call is one
-- range. A fact delivered again (same fact_id, any later offset) has the same key and collapses to its FIRST arrival:
-- `version` is largest for the smallest offset. Merges only save space: every view counts each fact once by itself.
-- `body_hash` is part of the key, so two different bodies under one id are both kept for ever (see fact_conflicts).
--
-- Absent texts are '' (no Nullable column to read); the views say NULL for them.
-- No PARTITION BY: an insert stays one atomic block. Fsync on insert: progress must never outlive its facts.
CREATE TABLE IF NOT EXISTS {database}.facts
(
    workspace_id LowCardinality(String),
    fact_id UUID,
    body_hash UInt64 COMMENT 'of what the normaliser made of it, without either clock of ours',
    kind LowCardinality(String),
    agent_id String,
    call_id String,
    leg_id String,
    occurred_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    occurred_at_from LowCardinality(String),
    received_at DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    provider LowCardinality(String),
    account LowCardinality(String),
    endpoint LowCardinality(String),
    request_id String,
    normaliser Int32,
    log_topic LowCardinality(String),
    log_partition Int32,
    log_offset Int64,

    -- AgentStateChanged
    action LowCardinality(String),
    state LowCardinality(String),
    reason LowCardinality(String),
    mode LowCardinality(String),
    agent_name String,
    agent_unique_id String,

    -- CallRang, CallAnswered, CallEnded, CallSummarised
    direction LowCardinality(String),
    call_type LowCardinality(String),
    caller String,
    did LowCardinality(String),
    skill LowCardinality(String),
    campaign LowCardinality(String),
    agent_phone String,
    hangup_by LowCardinality(String),

    -- CallSummarised; the arrays are the agent chain, aligned by index, '' where a link does not say
    answered Nullable(Bool),
    status LowCardinality(String),
    started_at Nullable(DateTime64(3, 'UTC')),
    answered_at Nullable(DateTime64(3, 'UTC')),
    ended_at Nullable(DateTime64(3, 'UTC')),
    call_seconds Nullable(Int32),
    talk_seconds Nullable(Int32),
    hold_seconds Nullable(Int32),
    wrap_up_seconds Nullable(Int32),
    agents Array(String),
    agent_names Array(String),
    agent_phones Array(String),
    agent_unique_ids Array(String),
    agent_statuses Array(String),
    disposition LowCardinality(String),
    comments String,
    recording_url String,
    transfer_type LowCardinality(String),
    transferred_to String,
    dial_status LowCardinality(String),
    customer_status LowCardinality(String),
    location LowCardinality(String),
    uui String,

    -- DirectoryChanged
    directory_change LowCardinality(String),
    directory_entry LowCardinality(String),
    directory_value String,

    -- Decided
    decision LowCardinality(String),
    effective_at Nullable(DateTime64(3, 'UTC')),
    evidence Array(String),
    attributes Map(String, String),

    -- Unknown
    unknown_event LowCardinality(String),
    unknown_word LowCardinality(String),

    -- As received, secrets removed
    raw String CODEC(ZSTD(3)),
    raw_content_type LowCardinality(String),

    -- Offsets grow within a partition, and one id always has one key, hence one partition; the partition's number
    -- below the offset only keeps the order total.
    arrival UInt64 MATERIALIZED bitShiftLeft(toUInt64(log_offset), 12) + bitAnd(toUInt64(log_partition), 4095),
    version UInt64 MATERIALIZED bitNot(arrival),

    INDEX by_occurred_at occurred_at TYPE minmax GRANULARITY 1,
    INDEX by_agent agent_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (workspace_id, call_id, agent_id, fact_id, body_hash)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
