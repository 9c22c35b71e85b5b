-- How each workspace works its missed calls and knows its callers (docs/rules.md), beside its bounds. The defaults are those of a workspace
-- that says nothing, and hold for rows that an older build wrote.
ALTER TABLE {database}.workspace_settings
    ADD COLUMN IF NOT EXISTS due_after_seconds Int64 DEFAULT 600,
    ADD COLUMN IF NOT EXISTS attempts Int64 DEFAULT 3,
    ADD COLUMN IF NOT EXISTS priority_missed Int64 DEFAULT 100,
    ADD COLUMN IF NOT EXISTS priority_short_abandon Int64 DEFAULT 50,
    ADD COLUMN IF NOT EXISTS priority_repeat Int64 DEFAULT 10,
    ADD COLUMN IF NOT EXISTS priority_repeat_most Int64 DEFAULT 50,
    ADD COLUMN IF NOT EXISTS priority_repeat_window_seconds Int64 DEFAULT 86400,
    ADD COLUMN IF NOT EXISTS priority_per_attempt Int64 DEFAULT -10,
    ADD COLUMN IF NOT EXISTS priority_spam Int64 DEFAULT -80,
    ADD COLUMN IF NOT EXISTS spam_dispositions Array(String),
    ADD COLUMN IF NOT EXISTS country_code LowCardinality(String) DEFAULT '91'
