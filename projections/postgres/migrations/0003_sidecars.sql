-- What sidecars need besides the rows: how far the read models are, and wrap-ups by when they began.

-- Which record of each partition the projector of the read models reads next. Offsets say nothing of any hospital; the table
-- names the projections of every one, so it stays closed.
create function helix.read_models_progress() returns table (topic text, "partition" integer, next_offset bigint)
    language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select topic, partition, next_offset from helix.projection_progress where projection = 'postgres'
$$;
revoke execute on function helix.read_models_progress() from public;

create or replace procedure helix.grant_readers()
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    readable name;
begin
    if not exists (select from pg_roles where rolname = 'helix_reader') then
        return;
    end if;
    foreach readable in array array['read', 'read_standby'] loop
        if exists (select from pg_namespace where nspname = readable) then
            execute format('grant usage on schema %I to helix_reader', readable);
            execute format('grant select on all tables in schema %I to helix_reader', readable);
        end if;
    end loop;
    grant usage on schema helix to helix_reader;
    grant select on helix.parked_facts, helix.projection_roots to helix_reader;
    grant execute on function helix.read_models_progress() to helix_reader;
end
$$;

-- The wrap-ups of the calls of a range, without all other states. It begins with the time: what is asked of one agent goes
-- by the key. Not of `ended_at`: an interval that ends touches no index.
do $$
declare
    readable name;
begin
    foreach readable in array array['read', 'read_standby'] loop
        if to_regclass(format('%I.agent_intervals', readable)) is not null then
            execute format(
                'create index agent_intervals_in_wrap_up on %I.agent_intervals (started_at, workspace_id) where state = ''wrap_up''',
                readable);
        end if;
    end loop;
end $$;
