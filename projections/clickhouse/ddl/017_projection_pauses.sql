-- Which projections an operator told to rest: the latest word counts.
CREATE TABLE IF NOT EXISTS {database}.projection_pauses
(
    `projection` LowCardinality(String),
    paused Bool,
    told_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(told_at)
ORDER BY `projection`
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
