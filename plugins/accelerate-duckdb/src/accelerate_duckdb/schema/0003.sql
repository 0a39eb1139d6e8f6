-- SPDX-License-Identifier: Apache-2.0
-- Views for common questions.

CREATE VIEW latest_measurements AS
SELECT
    series_key, machine, metric,
    max(timestamp) AS timestamp,
    arg_max(value, (timestamp, row_id)) AS value,
    arg_max(run_id, (timestamp, row_id)) AS run_id,
    arg_max(measurement_id, (timestamp, row_id)) AS measurement_id,
    any_value(model_name) AS model_name,
    any_value(model_type) AS model_type,
    any_value(platform) AS platform,
    any_value(engine) AS engine,
    any_value(browser) AS browser,
    any_value(precision) AS precision,
    any_value(batch_size) AS batch_size,
    any_value(is_software) AS is_software,
    count(*) AS measurements
FROM time_series_performance
GROUP BY series_key, machine, metric;

CREATE VIEW daily_medians AS
SELECT
    CAST(timestamp AS DATE) AS day, series_key, machine, metric,
    median(value) AS median,
    min(value) AS lowest,
    max(value) AS highest,
    count(*) AS measurements,
    any_value(model_name) AS model_name,
    any_value(platform) AS platform,
    any_value(engine) AS engine,
    any_value(browser) AS browser,
    any_value(precision) AS precision,
    any_value(batch_size) AS batch_size,
    any_value(is_software) AS is_software
FROM time_series_performance
GROUP BY day, series_key, machine, metric;

CREATE VIEW run_counts AS
SELECT
    r.id AS run_id, r.started_at, r.finished_at, r.name, r.project_commit, r.is_interrupted,
    r.ci->>'branch' AS branch, r.ci->>'pull_request' AS pull_request,
    count(p.id) AS measurements,
    count(*) FILTER (p.status = 'ok') AS ok,
    count(*) FILTER (p.status = 'mismatch') AS mismatch,
    count(*) FILTER (p.status = 'failed') AS failed,
    count(*) FILTER (p.status = 'missing') AS missing,
    count(*) FILTER (p.status = 'skipped') AS skipped
FROM runs AS r
LEFT JOIN webnn_webgpu_performance AS p ON p.run_id = r.id AND p.again_of IS NULL
GROUP BY ALL;

CREATE VIEW open_regressions AS
SELECT * FROM performance_regressions
WHERE is_worse AND status IN ('open', 'acknowledged');

CREATE VIEW pool_by_minute AS
SELECT
    date_trunc('minute', timestamp) AS minute, session_id,
    max(size) AS size,
    avg(ready) AS ready,
    avg(active) AS active,
    sum(active) / nullif(sum(ready), 0) AS utilisation,
    max(queued) AS queued,
    CAST(sum(jobs) AS BIGINT) AS jobs,
    CAST(sum(errors) AS BIGINT) AS errors,
    CAST(sum(attempts) AS BIGINT) AS attempts,
    max(memory_bytes) AS memory_bytes
FROM resource_pool_metrics
GROUP BY minute, session_id;
