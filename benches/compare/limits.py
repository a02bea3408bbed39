"""Runs works that need much memory under limits, beside DuckDB, DataFusion and Polars.

    python3 benches/compare/limits.py --scale 10 [--shuffled]

makes the data as `compare.py` does, runs every work several times for each engine and limit in a
process of its own, the engines in turn, checks the answers against each other, and writes
`limits.md` and `limits.json`: the least seconds, the most resident memory of the process, and for
Gristmill what it wrote to disk. Polars has no limit to set. With `--shuffled` the rows of lineitem
are in an order of their own, and the reports are `limits-shuffled.md` and `.json`."""

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
            FROM lineitem GROUP BY l_orderkey, l_linenumber) AS t"""),
    "distinct": ("distinct of four columns", """
        SELECT count(*), sum(l_partkey), sum(l_suppkey) FROM (
            SELECT DISTINCT l_partkey, l_suppkey, l_shipdate, l_returnflag FROM lineitem) AS t"""),
    "strings": ("groups by a long string", """
        SELECT count(*), sum(times), max(times), sum(length(l_comment)) FROM (
            SELECT l_comment, count(*) AS times FROM lineitem GROUP BY l_comment) AS t"""),
    "join": ("a table joined with itself on its key", """
        SELECT count(*), sum(a.l_extendedprice + b.l_tax) FROM lineitem a JOIN lineitem b
        ON a.l_orderkey = b.l_orderkey AND a.l_linenumber = b.l_linenumber"""),
    "window": ("row numbers within partitions", """
        SELECT sum(place), sum(place * l_orderkey) FROM (
            SELECT l_orderkey, row_number() OVER (
                PARTITION BY l_partkey ORDER BY l_shipdate, l_orderkey, l_linenumber) AS place
            FROM lineitem) AS t"""),
    "sort": ("all columns sorted, to Parquet", """
        COPY (SELECT * FROM lineitem ORDER BY l_shipdate, l_extendedprice DESC, l_comment)
        TO '{output}'"""),
}
ENGINES = ["gristmill", "duckdb", "datafusion", "polars"]
UNLIMITED = ["polars"]


def main():
    options = arguments()
    home = Path(options.dir).resolve()
    home.mkdir(parents=True, exist_ok=True)
    python = environment(home)
    table = generate(home, python, options.scale) / "lineitem.parquet"
    if options.shuffled:
        table = shuffled(table, python)
    gristmill = Path(options.gristmill or build()).resolve()
    spill = home / "spill"
    results = []
    for work in options.works:
        first = None
        for limit in options.limits:
            engines = {}
            for engine in options.engines * options.runs:
                if limit and engine in UNLIMITED:
                    engines[engine] = {"none": "no limit to set"}
                    continue
                shutil.rmtree(spill, ignore_errors=True)
                spill.mkdir()
                result = measure(engine, work, limit, table, spill, python, gristmill, options)
                first = check(result, first)
                engines[engine] = together(engines.get(engine), result)
            row = {"work": work, "limit_mb": limit, "engines": engines}
            results.append(row)
            print(line(row, options.engines), flush=True)
    shutil.rmtree(spill, ignore_errors=True)
    report(home, results, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scale", default="10", help="TPC-H scale factor [10]")
    parser.add_argument("--shuffled", action="store_true", help="rows in no order of any column")
    parser.add_argument("--runs", type=int, default=2, help="of each work [2]")
    parser.add_argument("--threads", type=int, default=2, help="threads and cores [2]")
    parser.add_argument("--dir", default=str(ROOT / "data" / "generated" / "compare"))
    parser.add_argument("--engines", default=",".join(ENGINES), help="in this order")
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--limits", default="0,1024,512,256,128,64", help="in MB, 0 for none")
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


def shuffled(table, python):
    """A copy of the table in the order of a hash of its key."""
    copy = table.with_name("lineitem-shuffled.parquet")
    if not copy.exists():
        part = copy.with_suffix(".part")
        sql = f"""COPY (FROM '{table}' ORDER BY hash(l_orderkey * 8 + l_linenumber))
            TO '{part}' (FORMAT parquet, COMPRESSION snappy)"""
        subprocess.run([python, "-c", f"import duckdb; duckdb.sql({sql!r})"], check=True)
        part.rename(copy)
    return copy


def together(before, result):
    """One result of two runs: the least time, the most memory, and what went wrong in either."""
    if before is None or "error" in before:
        return before or result
    if "error" in result:
        return result
    return {**before, **result, "seconds": min(before["seconds"], result["seconds"]),
            "peak_mb": max(before["peak_mb"], result["peak_mb"])}


def measure(engine, work, limit, table, spill, python, gristmill, options):
    """Seconds, peak memory and rows of one run, or the error."""
    output = spill / OUTPUT
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
    if "none" in result:
        return result["none"]
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
             "datafusion": "DataFusion s / MB", "polars": "Polars s / MB"}
    engines = options.engines
    order = "shuffled" if options.shuffled else "in file order"
    name = "limits-shuffled" if options.shuffled else "limits"
    text = [f"lineitem of TPC-H scale factor {options.scale} {order}, {options.threads} threads on "
            f"as many cores; the least seconds of {options.runs} runs, the most resident memory of "
            "the process, and what was written to disk.", "",
            f"| work | limit | {' | '.join(heads[engine] for engine in engines)} |",
            "|---" * (len(engines) + 2) + "|"]
    text += [line(row, engines) for row in results]
    for row in results:
        for engine, result in row["engines"].items():
            if problem := result.get("error") or result.get("differs"):
                text.append(f"- {row['work']}, {row['limit_mb']} MB, {engine}: {problem}")
    (home / f"{name}.md").write_text("\n".join(text) + "\n")
    document = {"scale": options.scale, "threads": options.threads, "runs": options.runs,
                "shuffled": options.shuffled, "results": results}
    (home / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    print("\n".join(text))


main()
