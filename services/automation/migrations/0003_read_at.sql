-- The facts of a call lie in several partitions, which several instances may hold. Nothing is decided of a call while one of them
-- has not read its part: an instance that was away would else be spoken for by one that was not.
alter table automation.progress add column read_at timestamptz;
comment on column automation.progress.read_at is
    'When whoever holds the partition last said that all there is in it was read; null since it was acquired, until then.';
