-- Schema `state` for what the folds keep, apart from the read models, so that a second generation of both can be filled
-- beside the live one and exchanged with it (docs/decisions/0013); the columns and tables of legs, books, decisions,
-- conflicts and claims; parked facts, pauses, the standby; roles that are bound to one workspace.
--
-- What an older build projected lacks these columns, and nothing but the log can fill them: this migration empties the
-- projection (rows, roots, progress to 0, epochs raised), and the projector fills it again from the log (law 6). Until it
-- has caught up the read models are incomplete. Progress of other projections stays as it is.

create schema state;
alter table helix.agent_timeline set schema state;
alter table helix.agent_registers set schema state;
alter table helix.call_states set schema state;

truncate read.agents, read.agent_intervals, read.calls, read.missed_calls,
         state.agent_timeline, state.agent_registers, state.call_states;
delete from helix.projection_roots where projection = 'postgres';
update helix.projection_progress set next_offset = 0, epoch = epoch + 1, updated_at = now() where projection = 'postgres';

alter table read.agents add column presumed boolean not null;
comment on column read.agents.presumed is 'The state rests on a decision (docs/rules.md), not on an event.';

alter table read.agent_intervals add column presumed boolean not null;
comment on column read.agent_intervals.presumed is 'Begun by a decision (docs/rules.md), not by an event.';

alter table read.calls
    add column conflicts text[] not null,
    add column call_seconds_sent bigint,
    add column talk_seconds_sent bigint,
    add column caller_key text;
comment on column read.calls.conflicts is 'Where what was sent contradicts itself, sorted words (docs/rules.md). Status and timestamps decide.';
comment on column read.calls.call_seconds_sent is 'CallDuration as sent; figures come from the timestamps.';
comment on column read.calls.talk_seconds_sent is 'Duration as sent; figures come from the timestamps.';
comment on column read.calls.caller_key is 'The caller however the number is written (docs/rules.md, Callers): links calls. Of the projector alone; read caller.';

alter table read.missed_calls
    add column claimed_by text,
    add column claimed_at timestamptz,
    add column caller_key text;
comment on column read.missed_calls.claimed_by is 'Who works on it; null where it is free.';
comment on column read.missed_calls.caller_key is 'As read.calls.caller_key.';

-- Who has no obligation is found without reading the calls. Only one index of a table begins with the workspace where that
-- can be: before a table has statistics, a planner that finds another one there takes it for as good as the key, and reads
-- a whole workspace for each row.
create index missed_calls_by_caller on read.missed_calls (caller_key, workspace_id);
drop index read.calls_by_caller;
create index calls_by_caller on read.calls (caller_key, workspace_id);
alter table state.agent_timeline drop constraint agent_timeline_pkey, add primary key (fact_id, workspace_id);

create table read.call_legs (
    workspace_id text not null,
    call_id      text not null,
    position     bigint not null,
    leg_id       text,
    agent_id     text,
    status       text,
    outcome      text not null,
    started_at   timestamptz,
    answered_at  timestamptz,
    ended_at     timestamptz,
    wait_seconds bigint,
    talk_seconds bigint,
    transferred  boolean not null,
    primary key (workspace_id, call_id, position)
);
comment on table read.call_legs is 'The agents a call came to, in order.';

create table read.queue_days (
    workspace_id    text not null,
    queue           text not null,
    day             date not null,
    offered         bigint not null,
    answered        bigint not null,
    missed          bigint not null,
    short_abandoned bigint not null,
    in_progress     bigint not null,
    primary key (workspace_id, queue, day)
);
comment on table read.queue_days is 'The books: inbound calls by queue (skill, or the empty text) and local day of their start, kept in the transaction of the calls.';

alter table state.agent_timeline add column rests_on uuid;
comment on column state.agent_timeline.rests_on is 'Of a decision: the state fact on which it stands, as the last before it.';

-- The join of a call's facts as written by the fold: bytes that only the fold reads. jsonb would parse them again at every
-- write, for nobody.
alter table state.call_states drop column state;
alter table state.call_states add column state bytea not null, add column handled boolean not null;
comment on column state.call_states.handled is 'Somebody claimed, released or waived it: what that means is in the state, and not in the call''s row.';
alter table state.agent_registers drop column registers;
alter table state.agent_registers add column registers bytea not null;

create table helix.parked_facts (
    projection   text not null,
    topic        text not null,
    partition    integer not null,
    "offset"     bigint not null,
    key          bytea not null,
    workspace_id text,
    cause        text not null check (cause in ('poison', 'behind')),
    reason       text,
    behind       bigint,
    parked_at    timestamptz not null default now(),
    primary key (projection, topic, partition, "offset"),
    check ((cause = 'poison') = (reason is not null) and (cause = 'behind') = (behind is not null))
);
create index parked_facts_by_key on helix.parked_facts (projection, topic, key);
comment on table helix.parked_facts is 'Facts that are set aside, by their coordinates; the values stay in the log. cause poison: it cannot be applied (reason). cause behind: an earlier fact of its key is parked (the offset in behind).';

create table helix.projection_pauses (
    projection text primary key,
    paused_at  timestamptz not null default now()
);
comment on table helix.projection_pauses is 'Projections that are told to wait.';

create table helix.standby (
    only_one     boolean primary key default true check (only_one),
    workspace_id text,
    state        text not null check (state in ('filling', 'previous')),
    made_at      timestamptz not null default now(),
    cut_over_at  timestamptz
);
comment on table helix.standby is 'The generation beside the live one: of all workspaces (null) or of one. previous: it was live until cut_over_at.';

-- The superuser that makes the roles makes this table too, so that no role is ever there unbound (infra/postgres).
create table if not exists helix.workspace_roles (
    role_name    name primary key,
    workspace_id text not null
);
comment on table helix.workspace_roles is 'Login roles that are bound to one workspace, whatever they set.';
alter table helix.workspace_roles enable row level security;
alter table helix.workspace_roles force row level security;
create policy owner_sees_all on helix.workspace_roles to current_role using (true) with check (true);
create policy own_binding on helix.workspace_roles for select to public using (role_name in (session_user, current_user));
grant select on helix.workspace_roles to public;

-- The workspace whose rows may be seen: that of the binding where the role has one, else the one named by the setting
-- helix.workspace. Bound to two different ones (by `set role`): none.
create function helix.current_workspace() returns text
    language sql stable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select case count(distinct workspace_id)
        when 0 then nullif(current_setting('helix.workspace', true), '')
        when 1 then min(workspace_id)
    end
    from helix.workspace_roles where role_name in (session_user, current_user)
$$;

-- Forces row-level security on a table: its owner sees all, everybody else the rows of helix.current_workspace().
create procedure helix.protect(protected regclass)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('alter table %s enable row level security', protected);
    execute format('alter table %s force row level security', protected);
    execute format('drop policy if exists owner_sees_all on %s', protected);
    execute format('create policy owner_sees_all on %s to current_role using (true) with check (true)', protected);
    execute format('drop policy if exists one_workspace on %s', protected);
    -- A sub-select is asked once a statement, not once a row.
    execute format(
        'create policy one_workspace on %s for select to public using (workspace_id = (select helix.current_workspace()))',
        protected);
end
$$;

-- Lets the readers' role read what it may. Called after every migration and whenever a generation is made: the role may
-- be younger than the tables.
create procedure helix.grant_readers()
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
end
$$;

-- Views over the read models of a schema. A session is an agent's maximal run of intervals that are not offline. Seconds
-- are differences of times cut to the second, so that the states of a session add up to it exactly.
create procedure helix.make_views(in_schema name)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format($view$
        create view %1$I.agent_sessions with (security_invoker = true) as
        with numbered as (
            select workspace_id, agent_id, state, started_at, ended_at,
                   count(*) filter (where state = 'offline') over story as signed_in_after,
                   lead(state) over story as next_state, lead(reason) over story as next_reason,
                   lead(presumed) over story as next_presumed,
                   floor(extract(epoch from ended_at))::bigint - floor(extract(epoch from started_at))::bigint as seconds
            from %1$I.agent_intervals
            window story as (partition by workspace_id, agent_id order by started_at)
        )
        select workspace_id, agent_id,
               min(started_at) as started_at,
               case when bool_and(ended_at is not null) then max(ended_at) end as ended_at,
               max(case when next_state is distinct from 'offline' then null
                        when not next_presumed then 'logout'
                        when next_reason = 'day_end' then 'day_end'
                        else 'presumed' end) as ended_by,
               coalesce(sum(seconds), 0)::bigint as signed_in_seconds,
               coalesce(sum(seconds) filter (where state = 'ready'), 0)::bigint as ready_seconds,
               coalesce(sum(seconds) filter (where state = 'ringing'), 0)::bigint as ringing_seconds,
               coalesce(sum(seconds) filter (where state = 'on_call'), 0)::bigint as on_call_seconds,
               coalesce(sum(seconds) filter (where state = 'wrap_up'), 0)::bigint as wrap_up_seconds,
               coalesce(sum(seconds) filter (where state = 'paused'), 0)::bigint as paused_seconds,
               coalesce(sum(seconds) filter (where state = 'unknown'), 0)::bigint as unknown_seconds
        from numbered
        where state <> 'offline'
        group by workspace_id, agent_id, signed_in_after
    $view$, in_schema);
    execute format('comment on view %I.agent_sessions is %L', in_schema,
                   'Sessions of agents, from signing in to offline; ended_at null while signed in.');
end
$$;

-- What only the owner may do, and what readers are not concerned with.
revoke execute on procedure helix.protect(regclass), helix.make_views(name), helix.grant_readers() from public;

call helix.protect('read.agents');
call helix.protect('read.agent_intervals');
call helix.protect('read.calls');
call helix.protect('read.call_legs');
call helix.protect('read.missed_calls');
call helix.protect('read.queue_days');
call helix.protect('state.agent_timeline');
call helix.protect('state.agent_registers');
call helix.protect('state.call_states');
call helix.protect('helix.projection_roots');
call helix.protect('helix.parked_facts');
call helix.protect('helix.standby');

call helix.make_views('read');
