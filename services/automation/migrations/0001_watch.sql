-- What automation remembers of the log (services/automation), and its progress. All of it can be thrown away: it is read
-- anew from the log. Row-level security as in the schema read: the owner sees all, others the workspace that the setting
-- helix.workspace names.

create table automation.progress (
    topic       text not null,
    partition   integer not null,
    next_offset bigint not null,
    epoch       bigint not null,
    updated_at  timestamptz not null default now(),
    primary key (topic, partition)
);
comment on table automation.progress is 'The offset to read next, moved by compare-and-set in the transaction of the rows.';

create table automation.parked (
    topic        text not null,
    partition    integer not null,
    fact_offset  bigint not null,
    key          bytea not null,
    workspace_id text,
    cause        text not null,
    behind       bigint,
    parked_at    timestamptz not null default now(),
    primary key (topic, partition, fact_offset)
);
comment on table automation.parked is 'Facts that could not be read, and those of their keys that came later. Of these keys nothing is decided.';

create table automation.agents (
    workspace_id text not null,
    agent_id     text not null,
    partition    integer not null,
    watch        jsonb not null,
    primary key (workspace_id, agent_id)
);
comment on table automation.agents is 'The last signs of life of each agent, and the calls it may still have.';

create table automation.calls (
    workspace_id text not null,
    call_id      text not null,
    watch        jsonb not null,
    is_open      boolean not null,
    last_at      timestamptz not null,
    primary key (workspace_id, call_id)
);
create index calls_over on automation.calls (workspace_id, last_at) where not is_open;
comment on table automation.calls is 'The join of what says whether a call lives. Calls that are over are forgotten after a week.';

create table automation.timers (
    workspace_id text not null,
    subject      text not null check (subject in ('agent', 'call')),
    subject_id   text not null,
    decision     text not null,
    evidence_id  uuid not null,
    partition    integer not null,
    due_at       timestamptz not null,
    stands       boolean not null,
    timer        jsonb not null,
    set_at       timestamptz not null default now(),
    primary key (workspace_id, subject, subject_id, decision, evidence_id)
);
create index timers_due on automation.timers (partition, due_at);
comment on table automation.timers is
    'Decisions that are made once the provider''s clock has passed due_at. stands: what follows of its subject does not change it.';

create table automation.clocks (
    workspace_id text not null,
    partition    integer not null,
    occurred_at  timestamptz not null,
    received_at  timestamptz not null,
    primary key (workspace_id, partition)
);
comment on table automation.clocks is 'The watermark of each workspace and partition by both clocks (docs/decisions/0009).';

create view automation.pending with (security_invoker) as
with clock as (
    select distinct on (workspace_id) workspace_id, occurred_at + greatest(now() - received_at, interval '0') as now_at
    from automation.clocks
    order by workspace_id, occurred_at desc, received_at
)
select held.workspace_id, held.decision, held.subject, held.subject_id, held.due_at, held.due_at - clock.now_at as due_in
from automation.timers as held join clock using (workspace_id);
comment on view automation.pending is 'What will be decided unless something happens, and in how long on the provider''s clock; below 0: it is due.';

do $$
declare
    t regclass;
begin
    foreach t in array array[
        'automation.parked', 'automation.agents', 'automation.calls', 'automation.timers', 'automation.clocks'
    ]::regclass[] loop
        execute format('alter table %s enable row level security', t);
        execute format('alter table %s force row level security', t);
        execute format('create policy owner_sees_all on %s to current_role using (true) with check (true)', t);
        execute format(
            'create policy one_workspace on %s to public using (workspace_id = current_setting(''helix.workspace'', true))', t);
    end loop;
end $$;
