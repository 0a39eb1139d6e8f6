-- SPDX-License-Identifier: Apache-2.0
-- What measurements mean over time. Every TIMESTAMP is UTC. Unknown is NULL, never 0 or false.

-- The measurement of the same run and cell that this one repeats, because that looked wrong.
ALTER TABLE webnn_webgpu_performance ADD COLUMN again_of VARCHAR;

-- Provider, branch, pull request, job and its page; NULL outside of CI.
ALTER TABLE runs ADD COLUMN ci JSON;

-- How requests arrived. Everything older came one after the other.
ALTER TABLE cells ADD COLUMN scenario VARCHAR DEFAULT 'single_stream';
ALTER TABLE webnn_webgpu_performance ADD COLUMN scenario VARCHAR DEFAULT 'single_stream';
-- 95% interval of latency_ms; NULL where samples are too few.
ALTER TABLE webnn_webgpu_performance ADD COLUMN latency_low_ms DOUBLE;
ALTER TABLE webnn_webgpu_performance ADD COLUMN latency_high_ms DOUBLE;

-- Which machine a run was on: numbers of two machines are never compared.
CREATE VIEW machines AS
SELECT
    id AS run_id,
    left(md5(concat_ws('|', host->>'system', host->>'processor', host->>'cores')), 8) AS machine
FROM runs;

-- Rows whose numbers count: they ran, and nothing about them was simulated. One row for a metric.
-- A series is the same series_key on the same machine; its versions and commits may change.
-- The machine is worked out once a run: once a measurement, a million took four times as long.
CREATE VIEW time_series_performance AS
WITH named AS (
    SELECT
        id AS run,
        project_commit,
        name AS run_name,
        machine,
        nullif(concat_ws(' ', host->>'system', host->>'release'), '') AS system
    FROM runs JOIN machines ON machines.run_id = runs.id
), counted AS (
    SELECT p.*, n.* EXCLUDE (run)
    FROM webnn_webgpu_performance AS p JOIN named AS n ON n.run = p.run_id
    WHERE p.status = 'ok' AND NOT coalesce(p.simulation_mode, false)
)
SELECT
    timestamp, run_id, measurement_id, id AS row_id, series_key, machine,
    metric, value,
    CASE metric
        WHEN 'latency_ms' THEN samples_ms
        WHEN 'inference_time_ms' THEN inference_samples_ms
        ELSE []
    END AS samples,
    model_name, model_family, model_type, model_sha256, platform, engine, browser, precision,
    batch_size, sequence_length, adapter_info, device_type, is_software,
    project_commit, run_name, browser_version, engine_version, system, threads, is_cached,
    fell_back_from, again_of, scenario
FROM counted
UNPIVOT (
    value FOR metric IN (
        latency_ms, inference_time_ms, throughput_items_per_second, memory_usage_mb,
        initialization_time_ms, launch_ms, fetch_ms, compile_ms, first_run_ms
    )
);

CREATE TABLE performance_regressions (
    id VARCHAR PRIMARY KEY,         -- of the series, the metric and the first bad run
    detected_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    series_key VARCHAR NOT NULL,
    machine VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    model_name VARCHAR NOT NULL,
    platform VARCHAR NOT NULL,      -- the backend
    engine VARCHAR,
    browser VARCHAR,
    precision VARCHAR NOT NULL,
    batch_size BIGINT NOT NULL,
    changed_at TIMESTAMP NOT NULL,  -- of the first bad measurement
    before DOUBLE NOT NULL,         -- median
    after DOUBLE NOT NULL,          -- median
    change DOUBLE NOT NULL,         -- after / before - 1
    change_low DOUBLE,              -- interval of the change
    change_high DOUBLE,
    confidence DOUBLE NOT NULL,     -- 1 - the chance of such a change in a series without one
    is_worse BOOLEAN NOT NULL,      -- false: it became better
    severity VARCHAR NOT NULL,      -- minor, major, critical; or improvement
    status VARCHAR NOT NULL,        -- open, acknowledged, fixed, wont_fix
    last_good_run VARCHAR,
    first_bad_run VARCHAR NOT NULL,
    last_good_commit VARCHAR,
    first_bad_commit VARCHAR,
    cause_kind VARCHAR,             -- commit, browser_version, engine_version, machine; NULL unknown
    cause VARCHAR,                  -- in words
    cause_id VARCHAR,               -- findings with one cause have one of these
    was_measured_again BOOLEAN NOT NULL,
    note VARCHAR,                   -- of whoever changed its status
    told VARCHAR,                   -- what people heard of it last: open, fixed; NULL nothing
    evidence JSON NOT NULL
);

CREATE TABLE browser_recommendations (
    id VARCHAR PRIMARY KEY,
    created_at TIMESTAMP NOT NULL,
    model_name VARCHAR,             -- NULL: every model of the task
    model_type VARCHAR,             -- the task
    objective VARCHAR NOT NULL,     -- latency, throughput, memory, reliability, balanced
    is_software BOOLEAN,            -- software and hardware are never compared; NULL: not known
    machine VARCHAR NOT NULL,
    browser VARCHAR,                -- NULL with platform: not enough data
    platform VARCHAR,
    engine VARCHAR,
    precision VARCHAR,
    batch_size BIGINT,
    metric VARCHAR,
    value DOUBLE,
    value_low DOUBLE,               -- interval
    value_high DOUBLE,
    sample_size BIGINT NOT NULL,    -- measurements
    alternatives JSON NOT NULL,
    conditions JSON NOT NULL        -- versions, days, filters
);

CREATE TABLE resource_pool_metrics (
    timestamp TIMESTAMP NOT NULL,
    session_id VARCHAR NOT NULL,    -- the run
    size BIGINT NOT NULL,           -- workers, whatever they do
    ready BIGINT NOT NULL,
    active BIGINT NOT NULL,         -- workers with something to do
    utilisation DOUBLE,             -- active / ready
    queued BIGINT NOT NULL,
    by_browser JSON NOT NULL,       -- workers
    by_platform JSON NOT NULL,
    by_model JSON NOT NULL,         -- jobs since the last row
    jobs BIGINT NOT NULL,           -- finished since the last row
    errors BIGINT NOT NULL,
    attempts BIGINT NOT NULL,       -- requests to workers that ended since the last row
    memory_bytes HUGEINT            -- the most since the last row
);

CREATE TABLE resource_pool_events (
    timestamp TIMESTAMP NOT NULL,
    session_id VARCHAR NOT NULL,    -- the run
    event VARCHAR NOT NULL,         -- started, stopped, lost, scaled
    worker_id VARCHAR,
    platform VARCHAR,
    browser VARCHAR,
    detail VARCHAR
);
