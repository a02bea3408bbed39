"""Compares Gristmill with DuckDB, Polars and DataFusion on the same cores and files.

    python3 benches/compare/compare.py --scale 1

makes the TPC-H data, installs the other engines into a virtual environment, builds Gristmill, runs
every work on every engine in turn, checks that the answers agree, and writes `report.md` and
`report.json` beside the data. Everything it makes is under `--dir`."""

import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import answers
from stage import HERE, ROOT, build, csv_of_lineitem, environment, generate, run
from works import CSV, TPCH, files, sql

ENGINES = ["gristmill", "duckdb", "datafusion", "polars"]


def main():
    options = arguments()
    home = Path(options.dir).resolve()
    home.mkdir(parents=True, exist_ok=True)
    python = environment(home)
    data = generate(home, python, options.scale)
    if any(work in CSV for work in options.works):
        csv_of_lineitem(data, python)
    gristmill = options.gristmill or build()
    results = []
    for work in options.works:
        row = {"work": work, "engines": {}}
        for engine in options.engines:
            row["engines"][engine] = measure(engine, work, data, python, gristmill, options)
        check(row)
        results.append(row)
        print(line(row, options.engines), flush=True)
    report(home, results, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scale", default="1", help="TPC-H scale factor [1]")
    parser.add_argument("--threads", type=int, default=2, help="threads and cores [2]")
    parser.add_argument("--runs", type=int, default=5, help="runs of each work in a process [5]")
    parser.add_argument("--dir", default=str(ROOT / "data" / "generated" / "compare"))
    parser.add_argument("--engines", default=",".join(ENGINES), help="in this order")
    parser.add_argument("--works", default="", help="e.g. q1,q6,csv_q1 [all]")
    parser.add_argument("--gristmill", help="the binary to run [built from this checkout]")
    options = parser.parse_args()
    options.engines = options.engines.split(",")
    options.works = options.works.split(",") if options.works else [*TPCH, *CSV]
    unknown = [w for w in options.works if w not in TPCH and w not in CSV]
    unknown += [e for e in options.engines if e not in ENGINES]
    if unknown:
        parser.error(f"there is no {unknown[0]}; works: {' '.join([*TPCH, *CSV])}")
    return options


def measure(engine, work, data, python, gristmill, options):
    """Seconds of each run and peak memory of the process, or the error."""
    try:
        if engine == "gristmill":
            return on_gristmill(gristmill, work, data, options)
        command = [python, HERE / "on_python.py", engine, work, data, options.threads, options.runs]
        out, peak = run(command, options.threads)
        return {**json.loads(out.splitlines()[-1]), "peak_mb": peak}
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        return {"error": lines[-1] if lines else f"exit code {error.returncode}"}


def on_gristmill(binary, work, data, options):
    """All runs are statements of one program; the rows are those of one more process."""
    tables = [f"--table={name}={path}" for name, path in files(work, data).items()]
    tables.append(f"--threads={options.threads}")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as program:
        program.write(f"{sql(work)};\n" * options.runs)
        program.flush()
        command = [binary, "run", program.name, *tables, "--format=csv", "--timing"]
        _, peak, timings = run(command, options.threads, stderr=True)
    seconds = [float(text.split()[2]) for text in timings.splitlines() if "timing:" in text]
    out, _ = run([binary, "query", sql(work), *tables, "--format=csv"], options.threads)
    rows = list(csv.reader(out.splitlines()))[1:]
    return {"seconds": seconds, "rows": rows, "peak_mb": peak}


def check(row):
    """Compares the rows of each engine with those of the first that answered, and drops them."""
    first = None
    for engine, result in row["engines"].items():
        rows = result.pop("rows", None)
        if rows is None:
            continue
        if first is None:
            first = (engine, rows)
        elif difference := answers.same(first[1], rows):
            result["differs"] = f"from {first[0]}: {difference}"


def best(result):
    return min(result["seconds"]) if "seconds" in result else math.nan


def cell(result):
    if "error" in result:
        return "fails"
    mark = " (differs)" if "differs" in result else ""
    return f"{best(result):.3f} / {result['peak_mb']}{mark}"


def line(row, engines):
    cells = [cell(row["engines"][engine]) for engine in engines]
    others = [best(row["engines"][e]) for e in engines if e != "gristmill"]
    others = [seconds for seconds in others if not math.isnan(seconds)]
    if "gristmill" in engines and others:
        cells.append(f"{best(row['engines']['gristmill']) / min(others):.2f}")
    return f"| {row['work']} | {' | '.join(cells)} |"


def geometric_mean(values):
    values = [value for value in values if not math.isnan(value)]
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def ratios(results, engines, group):
    """Gristmill's time over each other engine's, as geometric mean and worst of a group."""
    lines = []
    for engine in (e for e in engines if e != "gristmill" and "gristmill" in engines):
        pairs = [(best(r["engines"]["gristmill"]) / best(r["engines"][engine]), r["work"])
                 for r in results if r["work"] in group]
        pairs = [pair for pair in pairs if not math.isnan(pair[0])]
        if pairs:
            mean, (most, work) = geometric_mean([p for p, _ in pairs]), max(pairs)
            lines.append(f"- {engine}: geometric mean {mean:.3f}, largest {most:.3f} ({work})")
    return lines


def report(home, results, options):
    engines = options.engines
    heads = [f"{engine} s / MB" for engine in engines]
    if "gristmill" in engines and len(engines) > 1:
        heads.append("to the fastest other")
    text = [f"TPC-H scale factor {options.scale}, {options.threads} threads on as many cores, best "
            f"of {options.runs} runs in one process; peak resident memory of the process.", ""]
    for title, group in [("Parquet", TPCH), ("CSV", CSV)]:
        rows = [row for row in results if row["work"] in group]
        if rows:
            text += [f"| {title} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
            text += [line(row, engines) for row in rows]
            text += ["", "Gristmill's time over", *ratios(rows, engines, group), ""]
    for row in results:
        for engine, result in row["engines"].items():
            if problem := result.get("error") or result.get("differs"):
                text.append(f"- {row['work']}, {engine}: {problem}")
    (home / "report.md").write_text("\n".join(text) + "\n")
    document = {"scale": options.scale, "threads": options.threads, "runs": options.runs,
                "cores": os.cpu_count(), "results": results}
    (home / "report.json").write_text(json.dumps(document, indent=1) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
