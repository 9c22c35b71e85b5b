-- Where each projection stands: read on from the greatest (epoch, next_offset) of (projection, topic, partition).
-- A row says "every fact below next_offset is stored", and is written only after those facts; that stays true of a
-- row that a zombie writes. One row an epoch remains after a merge: the furthest.
CREATE TABLE IF NOT EXISTS {database}.projection_progress
(
    `projection` LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    epoch Int64,
    next_offset Int64,
    recorded_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(next_offset)
ORDER BY (`projection`, topic, partition, epoch)
