"""What every comparison needs: the other engines, the data, Gristmill's binary, and processes that
are timed from outside."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from works import TABLES

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ["duckdb==2.0.0", "datafusion==55.0.0", "polars==2.1.0", "pyarrow", "tpchgen-cli"]


def environment(home):
    """A virtual environment with the other engines."""
    python = home / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
    wanted = subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES])
    if wanted.returncode != 0:
        sys.exit(f"cannot install {' '.join(PACKAGES)}")
    return python


def generate(home, python, scale):
    """The directory with the tables of TPC-H as Parquet."""
    data = home / f"sf{scale}"
    if not all((data / f"{name}.parquet").exists() for name in TABLES):
        data.mkdir(exist_ok=True)
        generator = python.parent / "tpchgen-cli"
        subprocess.run([generator, "parquet", "-s", scale], check=True, cwd=data)
    return data


def csv_of_lineitem(data, python):
    """Makes lineitem as CSV beside the Parquet file."""
    if not (data / "lineitem.csv").exists():
        copy = f"COPY (FROM '{data}/lineitem.parquet') TO '{data}/lineitem.csv.part' (HEADER)"
        subprocess.run([python, "-c", f"import duckdb; duckdb.sql({copy!r})"], check=True)
        (data / "lineitem.csv.part").rename(data / "lineitem.csv")


def build():
    """Gristmill's binary, of this checkout."""
    command = ["cargo", "build", "--release", "-p", "gristmill-cli"]
    subprocess.run(command, check=True, cwd=ROOT)
    return str(ROOT / "target" / "release" / "gristmill")


def run(command, threads, stderr=False):
    """Standard output and peak resident memory, in MB, of a command on so many cores."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(
            [str(word) for word in command], stdout=out, stderr=err,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            env={**os.environ, "POLARS_MAX_THREADS": str(threads)})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        text, errors = out.read(), err.read()
    peak = usage.ru_maxrss // 1024
    if child.returncode != 0:
        error = subprocess.CalledProcessError(child.returncode, command, text, errors)
        error.peak = peak
        raise error
    return (text, peak, errors) if stderr else (text, peak)
