-- A caller's calls and obligations by time: what a batch asks of a caller goes from a moment on, and a switchboard's number has
-- very many. `until` is when an obligation was closed; one that is open is so for good. They begin with the caller's key, as
-- those they take the place of. While they are built, tables can be read and not written: 3.3 s for a million calls, a tenth
-- of them missed, on two busy cores.
--
-- Beside the rows, the settings that they were made with (docs/decisions/0025). What older builds made is taken to be made
-- with what is configured when this build first applies a batch: nobody knows better.

create table helix.row_settings (
    projection   text not null,
    workspace_id text not null,
    settings     jsonb not null,
    primary key (projection, workspace_id)
);
comment on table helix.row_settings is 'The settings that a generation''s rows of a workspace were made with; stored with the first batch of it. A rebuild makes rows with others.';
call helix.protect('helix.row_settings');

do $$
declare
    readable name;
    former text;
begin
    foreach readable in array array['read', 'read_standby'] loop
        if to_regclass(format('%I.calls', readable)) is not null then
            execute format('create index calls_by_caller_and_start on %I.calls (caller_key, workspace_id, started_at)', readable);
            execute format(
                'create index missed_calls_by_caller_and_moment on %I.missed_calls (caller_key, workspace_id, missed_at)',
                readable);
            execute format(
                'create index missed_calls_by_caller_until on %I.missed_calls (caller_key, workspace_id, coalesce(closed_at, ''infinity''))',
                readable);
        end if;
    end loop;
    -- At the end: from here on nobody reads either until the commit. Indexes of a generation that was made from another have
    -- names that Postgres gave them, so they go by what they are of.
    for former in
        select format('%I.%I', space.nspname, of_index.relname)
        from pg_index as held
        join pg_class as of_index on of_index.oid = held.indexrelid
        join pg_namespace as space on space.oid = of_index.relnamespace
        where held.indrelid in (to_regclass('read.calls'), to_regclass('read.missed_calls'),
                                to_regclass('read_standby.calls'), to_regclass('read_standby.missed_calls'))
          and pg_get_indexdef(held.indexrelid) like '%(caller_key, workspace_id)'
    loop
        execute 'drop index ' || former;
    end loop;
end $$;
