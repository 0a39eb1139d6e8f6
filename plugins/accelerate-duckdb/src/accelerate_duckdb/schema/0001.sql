-- SPDX-License-Identifier: Apache-2.0
-- Every TIMESTAMP is UTC. Unknown is NULL, never 0 or false.
-- `record` is the whole value as JSON (accelerate_core.serial): what the store rebuilds it from.

CREATE SEQUENCE runs_sequence;
CREATE SEQUENCE cells_id;
CREATE SEQUENCE browser_connections_id;
CREATE SEQUENCE webnn_webgpu_performance_id;

CREATE TABLE runs (
    id VARCHAR PRIMARY KEY,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP,
    name VARCHAR,
    project_commit VARCHAR,
    host JSON,
    is_interrupted BOOLEAN NOT NULL,
    record JSON NOT NULL,
    sequence BIGINT NOT NULL DEFAULT nextval('runs_sequence')
);

CREATE TABLE cells (
    id BIGINT PRIMARY KEY DEFAULT nextval('cells_id'),
    key VARCHAR UNIQUE NOT NULL,    -- the cell as canonical JSON
    model VARCHAR NOT NULL,
    backend VARCHAR NOT NULL,
    engine VARCHAR,
    browser VARCHAR,
    precision VARCHAR NOT NULL,
    batch_size BIGINT NOT NULL,
    sequence_length BIGINT
);

CREATE TABLE browser_connections (
    id BIGINT PRIMARY KEY DEFAULT nextval('browser_connections_id'),
    timestamp TIMESTAMP NOT NULL,
    connection_id VARCHAR NOT NULL,
    session_id VARCHAR NOT NULL,    -- the run
    browser VARCHAR,
    platform VARCHAR NOT NULL,      -- the backend
    startup_time_seconds DOUBLE,
    connection_duration_seconds DOUBLE,
    is_simulation BOOLEAN,
    adapter_info JSON,
    browser_info JSON,
    features VARCHAR[],
    engine VARCHAR,
    browser_version VARCHAR,
    engine_version VARCHAR,
    is_software BOOLEAN,
    device_type VARCHAR,
    threads BIGINT,
    memory_bytes HUGEINT,
    limits JSON,
    record JSON NOT NULL,
    UNIQUE (session_id, connection_id)
);

CREATE TABLE webnn_webgpu_performance (
    id BIGINT PRIMARY KEY DEFAULT nextval('webnn_webgpu_performance_id'),
    timestamp TIMESTAMP NOT NULL,
    connection_id VARCHAR,
    session_id VARCHAR NOT NULL,    -- the run
    model_name VARCHAR NOT NULL,
    model_type VARCHAR,             -- the task
    platform VARCHAR NOT NULL,      -- the backend
    browser VARCHAR,
    is_real_hardware BOOLEAN,       -- neither software nor simulated
    compute_shader_optimized BOOLEAN,
    precompile_shaders BOOLEAN,
    parallel_loading BOOLEAN,
    mixed_precision BOOLEAN,
    precision_bits INTEGER,
    initialization_time_ms DOUBLE,  -- fetch + compile + first run
    inference_time_ms DOUBLE,       -- median, in the page or process
    memory_usage_mb DOUBLE,         -- 1 MB = 1,000,000 bytes
    throughput_items_per_second DOUBLE,
    latency_ms DOUBLE,              -- median, submit to result
    batch_size BIGINT NOT NULL,
    adapter_info JSON,
    model_info JSON,
    simulation_mode BOOLEAN,
    measurement_id VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    cell_id BIGINT NOT NULL,
    series_key VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    is_required BOOLEAN NOT NULL,
    fell_back_from VARCHAR,         -- the target that was asked for
    engine VARCHAR,
    engine_version VARCHAR,
    browser_version VARCHAR,
    is_software BOOLEAN,
    device_type VARCHAR,
    threads BIGINT,
    precision VARCHAR NOT NULL,
    sequence_length BIGINT,
    model_sha256 VARCHAR,
    model_family VARCHAR,
    is_cached BOOLEAN,
    samples_ms DOUBLE[] NOT NULL,
    inference_samples_ms DOUBLE[] NOT NULL,
    launch_ms DOUBLE,
    fetch_ms DOUBLE,
    compile_ms DOUBLE,
    first_run_ms DOUBLE,
    encode_ms DOUBLE,
    queue_ms DOUBLE,
    transfer_ms DOUBLE,
    in_page_ms DOUBLE,
    decode_ms DOUBLE,
    memory_bytes HUGEINT,
    relative_l2 DOUBLE,
    tolerance DOUBLE,
    error JSON,
    provenance JSON NOT NULL,
    record JSON NOT NULL,
    UNIQUE (run_id, measurement_id)
);
