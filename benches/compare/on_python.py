"""Runs one work several times on one engine in this process.

    python on_python.py ENGINE WORK DATA THREADS RUNS

Prints one line of JSON: the seconds of each run, opening the files and planning included, and the
rows of the last one as text."""

import json
import os
import sys
import time

from works import files, sql

EXTENSION = {".csv": "csv", ".parquet": "parquet"}


def duckdb_run(work, data, threads):
    import duckdb

    connection = duckdb.connect(config={"threads": threads})
    for name, path in files(work, data).items():
        read = f"read_{EXTENSION[path.suffix]}('{path}')"
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {read}")
    return connection.execute(sql(work)).fetchall()


def datafusion_run(work, data, threads):
    import datafusion

    config = datafusion.SessionConfig().with_target_partitions(threads)
    context = datafusion.SessionContext(config)
    for name, path in files(work, data).items():
        register = getattr(context, f"register_{EXTENSION[path.suffix]}")
        register(name, str(path))
    batches = context.sql(sql(work)).collect()
    return [row for batch in batches for row in zip(*(column.to_pylist() for column in batch))]


def polars_run(work, data, threads):
    import polars
    import polars_tpch

    paths = files(work, data)

    def scan(name):
        path = paths[name]
        if path.suffix == ".csv":
            return polars.scan_csv(path, try_parse_dates=True)
        return polars.scan_parquet(path)

    return polars_tpch.query(work)(scan).collect(engine="streaming").rows()


def main():
    engine, work, data, threads, runs = sys.argv[1:]
    os.environ["POLARS_MAX_THREADS"] = threads
    os.environ["RAYON_NUM_THREADS"] = threads
    os.environ["TOKIO_WORKER_THREADS"] = threads
    run = globals()[f"{engine}_run"]
    seconds, rows = [], []
    for _ in range(int(runs)):
        start = time.perf_counter()
        rows = run(work, data, int(threads))
        seconds.append(time.perf_counter() - start)
    text = [["" if value is None else str(value) for value in row] for row in rows]
    print(json.dumps({"seconds": seconds, "rows": text}))


main()
