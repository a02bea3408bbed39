"""Runs one work once on one engine under a memory limit, in this process.

    python on_limit.py ENGINE SQL TABLE_PATH THREADS LIMIT_MB SPILL_DIR

LIMIT_MB is 0 for no limit. Prints one line of JSON: the seconds and the rows as text."""

import json
import os
import re
import sys
import time


def duckdb_run(sql, path, threads, limit, spill):
    import duckdb

    config = {"threads": threads, "temp_directory": spill}
    if limit:
        config["memory_limit"] = f"{limit}MiB"
    connection = duckdb.connect(config=config)
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"CREATE VIEW lineitem AS SELECT * FROM read_parquet('{path}')")
    return connection.execute(sql).fetchall()


def datafusion_run(sql, path, threads, limit, spill):
    import datafusion

    runtime = datafusion.RuntimeEnvBuilder().with_disk_manager_specified(spill)
    if limit:
        runtime = runtime.with_fair_spill_pool(limit << 20)
    config = datafusion.SessionConfig().with_target_partitions(threads)
    context = datafusion.SessionContext(config, runtime)
    context.register_parquet("lineitem", path)
    batches = context.sql(sql).collect()
    return [row for batch in batches for row in zip(*(c.to_pylist() for c in batch.columns))]


def polars_run(sql, path, threads, limit, spill):
    import polars

    context = polars.SQLContext(lineitem=polars.scan_parquet(path))
    copy = re.fullmatch(r"COPY \((.*)\) TO '(.*)'", sql)
    if copy:
        context.execute(copy[1]).sink_parquet(copy[2])
        return []
    return context.execute(sql).collect(engine="streaming").rows()


def main():
    engine, sql, path, threads, limit, spill = sys.argv[1:]
    os.environ["TOKIO_WORKER_THREADS"] = threads
    run = globals()[f"{engine}_run"]
    start = time.perf_counter()
    rows = run(sql, path, int(threads), int(limit), spill)
    seconds = time.perf_counter() - start
    text = [["" if value is None else str(value) for value in row] for row in rows]
    print(json.dumps({"seconds": seconds, "rows": text}))


main()
