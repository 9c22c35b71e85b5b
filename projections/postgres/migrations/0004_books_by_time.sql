-- What the continuous check of the books reads, without all history. Both begin with the time: of the indexes that begin
-- with the workspace a planner without statistics takes any for as good as the key.
do $$
declare
    readable name;
begin
    foreach readable in array array['read', 'read_standby'] loop
        if to_regclass(format('%I.queue_days', readable)) is not null then
            execute format('create index missed_calls_by_moment on %I.missed_calls (missed_at, workspace_id)', readable);
            execute format('create index queue_days_by_day on %I.queue_days (day, workspace_id)', readable);
        end if;
    end loop;
end $$;
