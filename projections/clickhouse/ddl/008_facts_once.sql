-- Each fact once, at its first arrival: what to count and sum over. The table `facts` itself may hold a fact as often
-- as it was delivered. For audits and metering; `calls` and `agent_intervals` do the same on their own, nearer.
CREATE OR REPLACE VIEW {database}.facts_once SQL SECURITY INVOKER AS
SELECT *
FROM {database}.facts
WHERE (workspace_id, fact_id, arrival) IN
(
    SELECT workspace_id, fact_id, min(arrival)
    FROM {database}.facts
    GROUP BY workspace_id, fact_id
)
LIMIT 1 BY workspace_id, fact_id
