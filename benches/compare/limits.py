"""Runs works that need much memory under limits, beside DuckDB and DataFusion.

    python3 benches/compare/limits.py --scale 10

makes the data as `compare.py` does, runs every work once for each engine and limit in a process of
its own, checks the answers against each other, and writes `limits.md` and `limits.json`: seconds,
peak resident memory of the process, and for Gristmill what it wrote to disk. Polars has no limit to
set."""

import argparse
import csv
import json
import shutil
import subprocess
import time
from pathlib import Path

import answers
from stage import HERE, ROOT, build, environment, generate, run

OUTPUT = "sorted.parquet"
WORKS = {
    "groups": ("a group for nearly every row", """
        SELECT count(*), sum(quantity), max(quantity), sum(quantity * l_orderkey) FROM (
            SELECT l_orderkey, l_linenumber, sum(l_quantity) AS quantity
            FROM lineitem GROUP BY l_orderkey, l_linenumber)"""),
    "distinct": ("distinct of four columns", """
        SELECT count(*), sum(l_partkey), sum(l_suppkey) FROM (
            SELECT DISTINCT l_partkey, l_suppkey, l_shipdate, l_returnflag FROM lineitem)"""),
    "strings": ("groups by a long string", """
        SELECT count(*), sum(times), max(times), sum(length(l_comment)) FROM (
            SELECT l_comment, count(*) AS times FROM lineitem GROUP BY l_comment)"""),
    "join": ("a table joined with itself on its key", """
        SELECT count(*), sum(a.l_extendedprice + b.l_tax) FROM lineitem a JOIN lineitem b
        ON a.l_orderkey = b.l_orderkey AND a.l_linenumber = b.l_linenumber"""),
    "window": ("row numbers within partitions", """
        SELECT sum(place), sum(place * l_orderkey) FROM (
            SELECT l_orderkey, row_number() OVER (
                PARTITION BY l_partkey ORDER BY l_shipdate, l_orderkey, l_linenumber) AS place
            FROM lineitem)"""),
    "sort": ("all columns sorted, to Parquet", """
        COPY (SELECT * FROM lineitem ORDER BY l_shipdate, l_extendedprice DESC, l_comment)
        TO '{output}'"""),
}
ENGINES = ["gristmill", "duckdb", "datafusion"]


def main():
    options = arguments()
    home = Path(options.dir).resolve()
    home.mkdir(parents=True, exist_ok=True)
    python = environment(home)
    data = generate(home, python, options.scale)
    gristmill = options.gristmill or build()
    spill = home / "spill"
    results = []
    for work in options.works:
        first = None
        for limit in options.limits:
            row = {"work": work, "limit_mb": limit, "engines": {}}
            for engine in options.engines:
                shutil.rmtree(spill, ignore_errors=True)
                spill.mkdir()
                result = measure(engine, work, limit, data, spill, python, gristmill, options)
                first = check(result, first)
                row["engines"][engine] = result
            results.append(row)
            print(line(row, options.engines), flush=True)
    shutil.rmtree(spill, ignore_errors=True)
    report(home, results, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scale", default="10", help="TPC-H scale factor [10]")
    parser.add_argument("--threads", type=int, default=2, help="threads and cores [2]")
    parser.add_argument("--dir", default=str(ROOT / "data" / "generated" / "compare"))
    parser.add_argument("--engines", default=",".join(ENGINES), help="in this order")
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--limits", default="0,1024,256,128,64", help="in MB, 0 for none")
    parser.add_argument("--gristmill", help="the binary to run [built from this checkout]")
    options = parser.parse_args()
    options.engines = options.engines.split(",")
    options.works = options.works.split(",")
    options.limits = [int(limit) for limit in options.limits.split(",")]
    unknown = [w for w in options.works if w not in WORKS]
    unknown += [e for e in options.engines if e not in ENGINES]
    if unknown:
        parser.error(f"there is no {unknown[0]}; works: {' '.join(WORKS)}")
    return options


def measure(engine, work, limit, data, spill, python, gristmill, options):
    """Seconds, peak memory and rows of one run, or the error."""
    output, table = spill / OUTPUT, data / "lineitem.parquet"
    sql = " ".join(WORKS[work][1].format(output=output).split())
    try:
        if engine == "gristmill":
            result = on_gristmill(gristmill, sql, table, limit, spill, options.threads)
        else:
            command = [python, HERE / "on_limit.py", engine, sql, table]
            command += [options.threads, limit, spill]
            out, peak = run(command, options.threads)
            result = {**json.loads(out.splitlines()[-1]), "peak_mb": peak}
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        text = lines[-1] if lines else f"exit code {error.returncode}"
        return {"error": text, "peak_mb": error.peak}
    if output.exists():
        result["rows"] = digest(output, python)
    return result


def on_gristmill(binary, sql, table, limit, spill, threads):
    command = [binary, "query", sql, f"--table=lineitem={table}", f"--threads={threads}"]
    command += [f"--temp-dir={spill}", "--format=csv", "--metrics"]
    if limit:
        command.append(f"--memory={limit}MB")
    start = time.perf_counter()
    out, peak, errors = run(command, threads, stderr=True)
    seconds = time.perf_counter() - start
    metrics = dict(text.split()[1:] for text in errors.splitlines() if text.startswith("metric:"))
    reserved = int(metrics["reserved_at_peak_allocated_bytes"])
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "spilled_mb": int(metrics["spill_written_bytes"]) >> 20,
        "reserved_of_allocated": round(reserved / int(metrics["peak_allocated_bytes"]), 3),
        "rows": list(csv.reader(out.splitlines()))[1:],
    }


def digest(output, python):
    """Figures of a sorted file by which two of them can be compared: its sums, and how many rows
    come after one that they should come before."""
    sums = f"""SELECT count(*), sum(l_orderkey * l_linenumber), sum(l_extendedprice),
        sum(length(l_comment)) FROM '{output}'"""
    before = "lag({0}) OVER (ORDER BY file_row_number) AS l{0}"
    disorder = f"""SELECT count(*) FROM (
        SELECT d, p, c, {before.format("d")}, {before.format("p")}, {before.format("c")} FROM (
            SELECT l_shipdate AS d, l_extendedprice AS p, l_comment AS c, file_row_number
            FROM read_parquet('{output}', file_row_number = true)))
        WHERE d < ld OR (d = ld AND p > lp) OR (d = ld AND p = lp AND c < lc)"""
    ask = """import duckdb, sys
connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
for query in sys.argv[1:]:
    print(*connection.execute(query).fetchone())"""
    command = [python, "-c", ask, sums, disorder]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.split() for line in out.splitlines()]


def check(result, first):
    """Compares the rows with those of the first run that answered, and drops them."""
    rows = result.pop("rows", None)
    if rows is None:
        return first
    if first is not None and (difference := answers.same(first, rows)):
        result["differs"] = difference
    return first or rows


def cell(result):
    if "error" in result:
        return f"fails at {result['peak_mb']} MB"
    mark = " (differs)" if "differs" in result else ""
    spilled = f" / {result['spilled_mb']}" if "spilled_mb" in result else ""
    return f"{result['seconds']:.1f} / {result['peak_mb']}{spilled}{mark}"


def line(row, engines):
    limit = f"{row['limit_mb']} MB" if row["limit_mb"] else "none"
    cells = [cell(row["engines"][engine]) for engine in engines]
    return f"| {WORKS[row['work']][0]} | {limit} | {' | '.join(cells)} |"


def report(home, results, options):
    heads = {"gristmill": "Gristmill s / MB / MB spilled", "duckdb": "DuckDB s / MB",
             "datafusion": "DataFusion s / MB"}
    engines = options.engines
    text = [f"lineitem of TPC-H scale factor {options.scale}, {options.threads} threads on as many "
            "cores; seconds, peak resident memory of the process, bytes written to disk.", "",
            f"| work | limit | {' | '.join(heads[engine] for engine in engines)} |",
            "|---" * (len(engines) + 2) + "|"]
    text += [line(row, engines) for row in results]
    for row in results:
        for engine, result in row["engines"].items():
            if problem := result.get("error") or result.get("differs"):
                text.append(f"- {row['work']}, {row['limit_mb']} MB, {engine}: {problem}")
    (home / "limits.md").write_text("\n".join(text) + "\n")
    document = {"scale": options.scale, "threads": options.threads, "results": results}
    (home / "limits.json").write_text(json.dumps(document, indent=1) + "\n")
    print("\n".join(text))


main()
