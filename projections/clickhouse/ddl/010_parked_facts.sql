-- Records that are set aside instead of applied, until they are unparked (design.md, law 7). The value stays in the log.
--
-- Written before the progress that passes them, once a record: what is written again under the same coordinates replaces
-- itself. A row of a later epoch outranks that of an earlier one, and of one epoch the removal outranks the entry: what is
-- unparked (or was written ahead of progress that was never reached) is removed under the epoch that had stored it.
CREATE TABLE IF NOT EXISTS {database}.parked_facts
(
    `projection` LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    key String COMMENT 'of the record; facts of one key are applied in order',
    workspace_id LowCardinality(String),
    cause String COMMENT 'why it cannot be applied; empty where it only follows one that cannot',
    behind Nullable(Int64) COMMENT 'the offset of the first parked record of its key, where this one is not the first',
    epoch Int64,
    removed Bool,
    parked_at DateTime64(3, 'UTC'),
    version UInt64 MATERIALIZED toUInt64(epoch) * 2 + toUInt64(removed)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (`projection`, topic, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
