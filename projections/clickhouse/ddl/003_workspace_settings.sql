-- The bounds of each workspace, written by the projector at its start from the configuration. A workspace without a
-- row has short_abandon_seconds = 10, service_level_seconds = 20 and zone Asia/Kolkata. Read it with FINAL.
CREATE TABLE IF NOT EXISTS {database}.workspace_settings
(
    workspace_id LowCardinality(String),
    short_abandon_seconds Int64,
    service_level_seconds Int64,
    zone LowCardinality(String),
    recorded_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY workspace_id
