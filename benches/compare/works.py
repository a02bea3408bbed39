"""The works that are compared: the queries of TPC-H over Parquet, and four works over CSV."""

from pathlib import Path

TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]

QUERIES = Path(__file__).resolve().parent.parent / "queries" / "tpch"


def tpch(number):
    text = (QUERIES / f"q{number:02}.sql").read_text()
    return text.strip().rstrip(";")


CSV = {
    "csv_count": "SELECT count(*) AS n FROM lineitem",
    "csv_q1": tpch(1),
    "csv_q6": tpch(6),
    "csv_columns": """SELECT max(l_orderkey), sum(l_partkey), sum(l_quantity),
        sum(l_extendedprice), max(l_shipdate), max(l_shipmode), max(l_comment)
        FROM lineitem""",
}

TPCH = {f"q{number}": tpch(number) for number in range(1, 23)}


def sql(work):
    """The SQL of a work."""
    return CSV.get(work) or TPCH[work]


def files(work, data):
    """The tables that a work reads: name and path."""
    if work in CSV:
        return {"lineitem": Path(data) / "lineitem.csv"}
    return {name: Path(data) / f"{name}.parquet" for name in TABLES}
