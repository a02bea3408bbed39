"""The 22 queries of TPC-H for Polars: lazy, with the joins ordered by hand, since its optimizer
does not order them. Each takes a function that scans a table, and gives a lazy frame."""

from datetime import date

import polars as pl

c = pl.col


def revenue():
    return c("l_extendedprice") * (1 - c("l_discount"))


def between(name, low, high):
    return c(name).is_between(low, high, closed="left")


def q1(t):
    return (
        t("lineitem")
        .filter(c("l_shipdate") <= date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus")
        .agg(
            c("l_quantity").sum().alias("sum_qty"),
            c("l_extendedprice").sum().alias("sum_base_price"),
            revenue().sum().alias("sum_disc_price"),
            (revenue() * (1 + c("l_tax"))).sum().alias("sum_charge"),
            c("l_quantity").mean().alias("avg_qty"),
            c("l_extendedprice").mean().alias("avg_price"),
            c("l_discount").mean().alias("avg_disc"),
            pl.len().alias("count_order"),
        )
        .sort("l_returnflag", "l_linestatus")
    )


def q2(t):
    european = (
        t("region")
        .filter(c("r_name") == "EUROPE")
        .join(t("nation"), left_on="r_regionkey", right_on="n_regionkey")
        .join(t("supplier"), left_on="n_nationkey", right_on="s_nationkey")
    )
    offers = (
        t("part")
        .filter((c("p_size") == 15) & c("p_type").str.ends_with("BRASS"))
        .join(t("partsupp"), left_on="p_partkey", right_on="ps_partkey")
        .join(european, left_on="ps_suppkey", right_on="s_suppkey")
    )
    least = offers.group_by("p_partkey").agg(c("ps_supplycost").min())
    return (
        offers.join(least, on=["p_partkey", "ps_supplycost"])
        .select("s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone",
                "s_comment")
        .sort("s_acctbal", "n_name", "s_name", "p_partkey", descending=[True, False, False, False])
        .head(100)
    )


def q3(t):
    day = date(1995, 3, 15)
    return (
        t("customer")
        .filter(c("c_mktsegment") == "BUILDING")
        .join(t("orders").filter(c("o_orderdate") < day), left_on="c_custkey",
              right_on="o_custkey")
        .join(t("lineitem").filter(c("l_shipdate") > day), left_on="o_orderkey",
              right_on="l_orderkey")
        .group_by("o_orderkey", "o_orderdate", "o_shippriority")
        .agg(revenue().sum().alias("revenue"))
        .select(c("o_orderkey").alias("l_orderkey"), "revenue", "o_orderdate", "o_shippriority")
        .sort("revenue", "o_orderdate", descending=[True, False])
        .head(10)
    )


def q4(t):
    late = t("lineitem").filter(c("l_commitdate") < c("l_receiptdate"))
    return (
        t("orders")
        .filter(between("o_orderdate", date(1993, 7, 1), date(1993, 10, 1)))
        .join(late, left_on="o_orderkey", right_on="l_orderkey", how="semi")
        .group_by("o_orderpriority")
        .agg(pl.len().alias("order_count"))
        .sort("o_orderpriority")
    )


def q5(t):
    customers = (
        t("region")
        .filter(c("r_name") == "ASIA")
        .join(t("nation"), left_on="r_regionkey", right_on="n_regionkey")
        .join(t("customer"), left_on="n_nationkey", right_on="c_nationkey")
    )
    orders = t("orders").filter(between("o_orderdate", date(1994, 1, 1), date(1995, 1, 1)))
    return (
        customers.join(orders, left_on="c_custkey", right_on="o_custkey")
        .join(t("lineitem"), left_on="o_orderkey", right_on="l_orderkey")
        .join(t("supplier"), left_on=["l_suppkey", "n_nationkey"],
              right_on=["s_suppkey", "s_nationkey"])
        .group_by("n_name")
        .agg(revenue().sum().alias("revenue"))
        .sort("revenue", descending=True)
    )


def q6(t):
    hundredth = pl.lit("0.01").cast(pl.Decimal(15, 2))
    six = pl.lit("0.06").cast(pl.Decimal(15, 2))
    return (
        t("lineitem")
        .filter(between("l_shipdate", date(1994, 1, 1), date(1995, 1, 1)))
        .filter(c("l_discount").is_between(six - hundredth, six + hundredth))
        .filter(c("l_quantity") < 24)
        .select((c("l_extendedprice") * c("l_discount")).sum().alias("revenue"))
    )


def q7(t):
    def nation(name, key):
        return t("nation").filter(c("n_name").is_in(["FRANCE", "GERMANY"])).select(
            c("n_nationkey").alias(key), c("n_name").alias(name))

    customers = nation("cust_nation", "cn").join(t("customer"), left_on="cn",
                                                 right_on="c_nationkey")
    suppliers = nation("supp_nation", "sn").join(t("supplier"), left_on="sn",
                                                 right_on="s_nationkey")
    shipped = t("lineitem").filter(c("l_shipdate").is_between(date(1995, 1, 1), date(1996, 12, 31)))
    return (
        customers.join(t("orders"), left_on="c_custkey", right_on="o_custkey")
        .join(shipped, left_on="o_orderkey", right_on="l_orderkey")
        .join(suppliers, left_on="l_suppkey", right_on="s_suppkey")
        .filter(c("cust_nation") != c("supp_nation"))
        .group_by("supp_nation", "cust_nation", c("l_shipdate").dt.year().alias("l_year"))
        .agg(revenue().sum().alias("revenue"))
        .sort("supp_nation", "cust_nation", "l_year")
    )


def q8(t):
    customers = (
        t("region")
        .filter(c("r_name") == "AMERICA")
        .join(t("nation"), left_on="r_regionkey", right_on="n_regionkey")
        .join(t("customer"), left_on="n_nationkey", right_on="c_nationkey")
        .select("c_custkey")
    )
    orders = t("orders").filter(
        c("o_orderdate").is_between(date(1995, 1, 1), date(1996, 12, 31)))
    of_brazil = c("n_name") == "BRAZIL"
    return (
        t("part")
        .filter(c("p_type") == "ECONOMY ANODIZED STEEL")
        .join(t("lineitem"), left_on="p_partkey", right_on="l_partkey")
        .join(orders, left_on="l_orderkey", right_on="o_orderkey")
        .join(customers, left_on="o_custkey", right_on="c_custkey", how="semi")
        .join(t("supplier"), left_on="l_suppkey", right_on="s_suppkey")
        .join(t("nation"), left_on="s_nationkey", right_on="n_nationkey")
        .with_columns(revenue().cast(pl.Float64).alias("volume"))
        .group_by(c("o_orderdate").dt.year().alias("o_year"))
        .agg((pl.when(of_brazil).then("volume").otherwise(0).sum() / c("volume").sum())
             .alias("mkt_share"))
        .sort("o_year")
    )


def q9(t):
    cost = c("ps_supplycost") * c("l_quantity")
    return (
        t("part")
        .filter(c("p_name").str.contains("green", literal=True))
        .join(t("partsupp"), left_on="p_partkey", right_on="ps_partkey")
        .join(t("supplier"), left_on="ps_suppkey", right_on="s_suppkey")
        .join(t("nation"), left_on="s_nationkey", right_on="n_nationkey")
        .join(t("lineitem"), left_on=["p_partkey", "ps_suppkey"],
              right_on=["l_partkey", "l_suppkey"])
        .join(t("orders"), left_on="l_orderkey", right_on="o_orderkey")
        .group_by(c("n_name").alias("nation"), c("o_orderdate").dt.year().alias("o_year"))
        .agg((revenue() - cost).sum().alias("sum_profit"))
        .sort("nation", "o_year", descending=[False, True])
    )


def q10(t):
    keys = ["c_custkey", "c_name", "c_acctbal", "c_phone", "n_name", "c_address", "c_comment"]
    return (
        t("orders")
        .filter(between("o_orderdate", date(1993, 10, 1), date(1994, 1, 1)))
        .join(t("lineitem").filter(c("l_returnflag") == "R"), left_on="o_orderkey",
              right_on="l_orderkey")
        .join(t("customer"), left_on="o_custkey", right_on="c_custkey")
        .rename({"o_custkey": "c_custkey"})
        .join(t("nation"), left_on="c_nationkey", right_on="n_nationkey")
        .group_by(keys)
        .agg(revenue().sum().alias("revenue"))
        .select("c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone",
                "c_comment")
        .sort("revenue", descending=True)
        .head(20)
    )


def q11(t):
    stock = (
        t("nation")
        .filter(c("n_name") == "GERMANY")
        .join(t("supplier"), left_on="n_nationkey", right_on="s_nationkey")
        .join(t("partsupp"), left_on="s_suppkey", right_on="ps_suppkey")
        .with_columns((c("ps_supplycost") * c("ps_availqty")).alias("worth"))
    )
    all_of_it = stock.select((c("worth").sum().cast(pl.Float64) * 0.0001).alias("limit"))
    return (
        stock.group_by("ps_partkey")
        .agg(c("worth").sum().alias("value"))
        .join(all_of_it, how="cross")
        .filter(c("value").cast(pl.Float64) > c("limit"))
        .select("ps_partkey", "value")
        .sort("value", descending=True)
    )


def q12(t):
    is_high = c("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    items = (
        t("lineitem")
        .filter(c("l_shipmode").is_in(["MAIL", "SHIP"]))
        .filter(c("l_commitdate") < c("l_receiptdate"))
        .filter(c("l_shipdate") < c("l_commitdate"))
        .filter(between("l_receiptdate", date(1994, 1, 1), date(1995, 1, 1)))
    )
    return (
        t("orders")
        .join(items, left_on="o_orderkey", right_on="l_orderkey")
        .group_by("l_shipmode")
        .agg(is_high.sum().alias("high_line_count"), (~is_high).sum().alias("low_line_count"))
        .sort("l_shipmode")
    )


def q13(t):
    orders = t("orders").filter(~c("o_comment").str.contains("special.*requests"))
    return (
        t("customer")
        .join(orders, left_on="c_custkey", right_on="o_custkey", how="left")
        .group_by("c_custkey")
        .agg(c("o_orderkey").count().alias("c_count"))
        .group_by("c_count")
        .agg(pl.len().alias("custdist"))
        .sort("custdist", "c_count", descending=True)
    )


def q14(t):
    promo = c("p_type").str.starts_with("PROMO")
    return (
        t("lineitem")
        .filter(between("l_shipdate", date(1995, 9, 1), date(1995, 10, 1)))
        .join(t("part"), left_on="l_partkey", right_on="p_partkey")
        .with_columns(revenue().cast(pl.Float64).alias("volume"))
        .select((100 * pl.when(promo).then("volume").otherwise(0).sum() / c("volume").sum())
                .alias("promo_revenue"))
    )


def q15(t):
    sums = (
        t("lineitem")
        .filter(between("l_shipdate", date(1996, 1, 1), date(1996, 4, 1)))
        .group_by("l_suppkey")
        .agg(revenue().sum().alias("total_revenue"))
    )
    return (
        sums.filter(c("total_revenue") == c("total_revenue").max())
        .join(t("supplier"), left_on="l_suppkey", right_on="s_suppkey")
        .select(c("l_suppkey").alias("s_suppkey"), "s_name", "s_address", "s_phone",
                "total_revenue")
        .sort("s_suppkey")
    )


def q16(t):
    complained = t("supplier").filter(c("s_comment").str.contains("Customer.*Complaints"))
    parts = (
        t("part")
        .filter(c("p_brand") != "Brand#45")
        .filter(~c("p_type").str.starts_with("MEDIUM POLISHED"))
        .filter(c("p_size").is_in([49, 14, 23, 45, 19, 3, 36, 9]))
    )
    return (
        parts.join(t("partsupp"), left_on="p_partkey", right_on="ps_partkey")
        .join(complained, left_on="ps_suppkey", right_on="s_suppkey", how="anti")
        .group_by("p_brand", "p_type", "p_size")
        .agg(c("ps_suppkey").n_unique().alias("supplier_cnt"))
        .sort("supplier_cnt", "p_brand", "p_type", "p_size",
              descending=[True, False, False, False])
    )


def q17(t):
    items = (
        t("part")
        .filter((c("p_brand") == "Brand#23") & (c("p_container") == "MED BOX"))
        .join(t("lineitem"), left_on="p_partkey", right_on="l_partkey")
        .select("p_partkey", c("l_quantity").cast(pl.Float64), "l_extendedprice")
    )
    bounds = items.group_by("p_partkey").agg((0.2 * c("l_quantity").mean()).alias("bound"))
    return (
        items.join(bounds, on="p_partkey")
        .filter(c("l_quantity") < c("bound"))
        .select((c("l_extendedprice").sum().cast(pl.Float64) / 7).alias("avg_yearly"))
    )


def q18(t):
    large = (
        t("lineitem")
        .group_by("l_orderkey")
        .agg(c("l_quantity").sum().alias("sum"))
        .filter(c("sum") > 300)
    )
    return (
        t("orders")
        .join(large, left_on="o_orderkey", right_on="l_orderkey")
        .join(t("customer"), left_on="o_custkey", right_on="c_custkey")
        .select("c_name", c("o_custkey").alias("c_custkey"), "o_orderkey", "o_orderdate",
                "o_totalprice", "sum")
        .sort("o_totalprice", "o_orderdate", descending=[True, False])
        .head(100)
    )


def q19(t):
    def sort_of(brand, size, containers, quantity):
        return (
            (c("p_brand") == brand)
            & c("p_container").is_in(containers)
            & c("l_quantity").is_between(quantity, quantity + 10)
            & c("p_size").is_between(1, size)
        )

    items = (
        t("lineitem")
        .filter(c("l_shipmode").is_in(["AIR", "AIR REG"]))
        .filter(c("l_shipinstruct") == "DELIVER IN PERSON")
    )
    small = ["SM CASE", "SM BOX", "SM PACK", "SM PKG"]
    medium = ["MED BAG", "MED BOX", "MED PKG", "MED PACK"]
    large = ["LG CASE", "LG BOX", "LG PACK", "LG PKG"]
    return (
        t("part")
        .join(items, left_on="p_partkey", right_on="l_partkey")
        .filter(sort_of("Brand#12", 5, small, 1) | sort_of("Brand#23", 10, medium, 10)
                | sort_of("Brand#34", 15, large, 20))
        .select(revenue().sum().alias("revenue"))
    )


def q20(t):
    parts = t("part").filter(c("p_name").str.starts_with("forest")).select("p_partkey")
    sold = (
        t("lineitem")
        .filter(between("l_shipdate", date(1994, 1, 1), date(1995, 1, 1)))
        .join(parts, left_on="l_partkey", right_on="p_partkey", how="semi")
        .group_by("l_partkey", "l_suppkey")
        .agg((0.5 * c("l_quantity").sum().cast(pl.Float64)).alias("half"))
    )
    excess = (
        t("partsupp")
        .join(sold, left_on=["ps_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .filter(c("ps_availqty") > c("half"))
    )
    return (
        t("nation")
        .filter(c("n_name") == "CANADA")
        .join(t("supplier"), left_on="n_nationkey", right_on="s_nationkey")
        .join(excess, left_on="s_suppkey", right_on="ps_suppkey", how="semi")
        .select("s_name", "s_address")
        .sort("s_name")
    )


def q21(t):
    several = (
        t("lineitem")
        .group_by("l_orderkey")
        .agg(c("l_suppkey").n_unique().alias("suppliers"))
        .filter(c("suppliers") > 1)
    )
    late = (
        several.join(t("lineitem").filter(c("l_receiptdate") > c("l_commitdate")),
                     on="l_orderkey")
        .select("l_orderkey", "l_suppkey")
    )
    alone = (
        late.group_by("l_orderkey")
        .agg(c("l_suppkey").n_unique().alias("late_ones"))
        .filter(c("late_ones") == 1)
    )
    suppliers = (
        t("nation")
        .filter(c("n_name") == "SAUDI ARABIA")
        .join(t("supplier"), left_on="n_nationkey", right_on="s_nationkey")
    )
    return (
        alone.join(late, on="l_orderkey")
        .join(suppliers, left_on="l_suppkey", right_on="s_suppkey")
        .join(t("orders").filter(c("o_orderstatus") == "F"), left_on="l_orderkey",
              right_on="o_orderkey")
        .group_by("s_name")
        .agg(pl.len().alias("numwait"))
        .sort("numwait", "s_name", descending=[True, False])
        .head(100)
    )


def q22(t):
    customers = (
        t("customer")
        .with_columns(c("c_phone").str.slice(0, 2).alias("cntrycode"))
        .filter(c("cntrycode").is_in(["13", "31", "23", "29", "30", "18", "17"]))
        .select("c_custkey", "cntrycode", "c_acctbal")
    )
    average = customers.filter(c("c_acctbal") > 0).select(
        c("c_acctbal").cast(pl.Float64).mean().alias("average"))
    return (
        customers.join(t("orders"), left_on="c_custkey", right_on="o_custkey", how="anti")
        .join(average, how="cross")
        .filter(c("c_acctbal").cast(pl.Float64) > c("average"))
        .group_by("cntrycode")
        .agg(pl.len().alias("numcust"), c("c_acctbal").sum().alias("totacctbal"))
        .sort("cntrycode")
    )


def csv_count(t):
    return t("lineitem").select(pl.len().alias("n"))


def csv_columns(t):
    return t("lineitem").select(
        c("l_orderkey").max(), c("l_partkey").sum(), c("l_quantity").sum(),
        c("l_extendedprice").sum(), c("l_shipdate").max(), c("l_shipmode").max(),
        c("l_comment").max())


def csv_q6(t):
    return (
        t("lineitem")
        .filter(between("l_shipdate", date(1994, 1, 1), date(1995, 1, 1)))
        .filter(c("l_discount").is_between(0.05, 0.07))
        .filter(c("l_quantity") < 24)
        .select((c("l_extendedprice") * c("l_discount")).sum().alias("revenue"))
    )


def query(work):
    """The function of a work of `works.py`."""
    own = {"csv_count": csv_count, "csv_columns": csv_columns, "csv_q1": q1, "csv_q6": csv_q6}
    return own.get(work) or globals()[work]
