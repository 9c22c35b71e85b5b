-- Two different bodies under one id: the first to arrive counts, the others stay visible here (design.md section 5).
-- One row a fact, its bodies in the order of arrival, each with where it lies in the log.
CREATE OR REPLACE VIEW {database}.fact_conflicts SQL SECURITY INVOKER AS
SELECT
    workspace_id,
    fact_id,
    any(toString(kind)) AS kind,
    uniqExact(body_hash) AS bodies,
    arrayMap(first -> (first.2, first.3, first.4)::Tuple(body_hash UInt64, log_partition Int32, log_offset Int64),
        arraySort(groupUniqArray((arrival, body_hash, log_partition, log_offset)))) AS arrivals
FROM {database}.facts
GROUP BY workspace_id, fact_id
HAVING bodies > 1
