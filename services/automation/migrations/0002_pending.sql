-- The provider's now is never taken to be more than five minutes ahead of ours: one misdated event makes nothing due.
create or replace view automation.pending with (security_invoker) as
with clock as (
    select distinct on (workspace_id) workspace_id,
        least(occurred_at + greatest(now() - received_at, interval '0'), now() + interval '5 minutes') as now_at
    from automation.clocks
    order by workspace_id, occurred_at desc, received_at
)
select held.workspace_id, held.decision, held.subject, held.subject_id, held.due_at, held.due_at - clock.now_at as due_in
from automation.timers as held join clock using (workspace_id);
