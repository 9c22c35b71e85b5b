-- The read models of contract.md (schema read), what the folds keep beside them, and the projector's progress (schema helix).
-- Every table with facts of a hospital carries workspace_id; row-level security is forced on all of them: the owner (the
-- projector) sees all, everybody else only the workspace named by the setting helix.workspace, and nothing without it.

create schema if not exists read;
create schema if not exists helix;

create table read.agents (
    workspace_id text not null,
    agent_id     text not null,
    name         text,
    state        text not null,
    since        timestamptz not null,
    reason       text,
    mode         text,
    call_id      text,
    primary key (workspace_id, agent_id)
);
comment on table read.agents is 'Each agent''s present: its last interval (docs/rules.md).';

create table read.agent_intervals (
    workspace_id text not null,
    agent_id     text not null,
    state        text not null,
    reason       text,
    started_at   timestamptz not null,
    ended_at     timestamptz,
    call_id      text,
    primary key (workspace_id, agent_id, started_at)
);
comment on table read.agent_intervals is 'States of agents, from until, without gap or overlap; the last is open.';

create table read.calls (
    workspace_id    text not null,
    call_id         text not null,
    direction       text,
    outcome         text not null,
    caller          text,
    did             text,
    campaign        text,
    skill           text,
    agent_id        text,
    agent_ids       text[] not null,
    started_at      timestamptz not null,
    answered_at     timestamptz,
    ended_at        timestamptz,
    wait_seconds    bigint,
    talk_seconds    bigint,
    hold_seconds    bigint,
    wrap_up_seconds bigint,
    disposition     text,
    hangup_by       text,
    recording_url   text,
    presumed        boolean not null,
    primary key (workspace_id, call_id)
);
create index calls_by_caller on read.calls (workspace_id, caller);
create index calls_by_start on read.calls (workspace_id, started_at desc, call_id);
comment on table read.calls is 'One row a call: the order-free join of its facts.';

create table read.missed_calls (
    workspace_id  text not null,
    call_id       text not null,
    caller        text,
    did           text,
    missed_at     timestamptz not null,
    status        text not null,
    attempts      bigint not null,
    priority      bigint not null,
    due_at        timestamptz not null,
    closed_at     timestamptz,
    closed_by     text,
    closed_reason text,
    primary key (workspace_id, call_id)
);
create index missed_calls_open on read.missed_calls (workspace_id, priority desc, missed_at) where status = 'open';
comment on table read.missed_calls is 'One obligation for every missed or abandoned inbound call.';

create table helix.agent_timeline (
    workspace_id text not null,
    agent_id     text not null,
    occurred_at  timestamptz not null,
    arrival      bigint not null,
    fact_id      uuid not null,
    state        text,
    reason       text,
    call_id      text,
    primary key (workspace_id, fact_id)
);
create index agent_timeline_in_order on helix.agent_timeline (workspace_id, agent_id, occurred_at, arrival);
comment on table helix.agent_timeline is 'What facts say of an agent: a state, or a touch (state null) with a call. arrival: offset in the partition.';

create table helix.agent_registers (
    workspace_id text not null,
    agent_id     text not null,
    registers    jsonb not null,
    primary key (workspace_id, agent_id)
);
comment on table helix.agent_registers is 'Latest name and mode of an agent, with their ranks.';

create table helix.call_states (
    workspace_id text not null,
    call_id      text not null,
    state        jsonb not null,
    primary key (workspace_id, call_id)
);
comment on table helix.call_states is 'The join of a call''s facts, from which its row is read.';

create table helix.projection_progress (
    projection  text not null,
    topic       text not null,
    partition   integer not null,
    next_offset bigint not null,
    epoch       bigint not null,
    updated_at  timestamptz not null default now(),
    primary key (projection, topic, partition)
);
comment on table helix.projection_progress is 'The offset to read next, moved by compare-and-set in the transaction of the rows.';

create table helix.projection_roots (
    projection   text not null,
    workspace_id text not null,
    partition    integer not null,
    root         bytea not null,
    row_count    bigint not null,
    primary key (projection, workspace_id, partition)
);
comment on table helix.projection_roots is 'Order-free set hash over the rows, per workspace and writing partition; partitions add up.';

do $$
declare
    t regclass;
begin
    foreach t in array array[
        'read.agents', 'read.agent_intervals', 'read.calls', 'read.missed_calls',
        'helix.agent_timeline', 'helix.agent_registers', 'helix.call_states', 'helix.projection_roots'
    ]::regclass[] loop
        execute format('alter table %s enable row level security', t);
        execute format('alter table %s force row level security', t);
        execute format('create policy owner_sees_all on %s to current_role using (true) with check (true)', t);
        execute format(
            'create policy one_workspace on %s to public using (workspace_id = current_setting(''helix.workspace'', true))', t);
    end loop;
end $$;
