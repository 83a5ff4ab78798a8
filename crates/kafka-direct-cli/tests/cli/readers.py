"""Opens what tests/cli/readers.rs wrote. Usage: readers.py FOLDER

The topic `orders` has two partitions with the offsets 0 to 99, `logs` has one with 0 to 49. A value is
`<partition>/<offset>`, and a timestamp is 1000 + its offset.
"""

import glob
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

FOLDER = sys.argv[1]
ROWS = 250
LAST = b"1/99"  # the greatest value


def path(name):
    return f"{FOLDER}/{name}"


def file(name):
    return ipc.open_file(path(name)).read_all()


def stream(name):
    return ipc.open_stream(path(name)).read_all()


def has_rows(table):
    """Whether a pyarrow table has every record, whatever its types."""
    assert table.num_rows == ROWS, table.num_rows
    values = sorted(zip(table["topic"].to_pylist(), table["value"].to_pylist()))
    topics = [("logs", 1, 50), ("orders", 2, 100)]
    expected = [
        (topic, f"{partition}/{offset}".encode())
        for topic, partitions, count in topics
        for partition in range(partitions)
        for offset in range(count)
    ]
    assert values == sorted(expected)


def in_pyarrow(table):
    """Filters, sorts and takes in a pyarrow table of plain types."""
    has_rows(table)
    types = [table.schema.field(name).type for name in ("topic", "key", "value")]
    assert types == [pa.string(), pa.binary(), pa.binary()], types
    assert table.schema.field("timestamp").type == pa.timestamp("ms", tz="UTC")
    logs = table.filter(pc.field("topic") == "logs")
    assert logs.num_rows == 50
    assert table.filter(pc.equal(table["value"], LAST)).num_rows == 1
    ordered = table.sort_by([("value", "descending"), ("topic", "ascending")])
    assert ordered["value"][0].as_py() == LAST
    assert table.take([0, ROWS - 1]).num_rows == 2
    assert table.group_by("topic").aggregate([("offset", "max")]).num_rows == 2


def in_polars(frame):
    assert frame.height == ROWS
    assert frame.filter(pl.col("topic") == "logs").height == 50
    assert frame.filter(pl.col("value") == LAST).height == 1
    assert frame.sort("value", descending=True)["value"][0] == LAST
    assert frame[[0, ROWS - 1]].height == 2


def in_duckdb(records):
    """Queries a Python object that DuckDB scans, or a path of Parquet."""
    connection = duckdb.connect()
    if isinstance(records, str):
        connection.execute(f"create view records as select * from read_parquet('{records}')")
    else:
        connection.register("records", records)

    def one(query):
        return connection.execute(query).fetchall()[0][0]

    assert one("select count(*) from records") == ROWS
    assert one("select count(*) from records where topic = 'logs'") == 50
    assert one("select value from records order by value desc limit 1") == LAST
    assert one("select count(*) from records where value = '1/99'::blob") == 1
    assert one("select epoch_ms(max(timestamp)) from records") == 1099


# Plain files: everything works.
in_pyarrow(file("all.arrow"))
in_pyarrow(ds.dataset(path("all.arrow"), format="ipc").to_table())
in_pyarrow(ds.dataset(sorted(glob.glob(path("folder/*.arrow"))), format="ipc").to_table())
in_polars(pl.read_ipc(path("all.arrow")))
in_polars(pl.scan_ipc(path("folder/*.arrow")).collect())
in_duckdb(file("all.arrow"))
in_duckdb(ds.dataset(path("all.arrow"), format="ipc"))

# Plain streams.
for name in ["all.arrows", "stdout.plain"]:
    in_pyarrow(stream(name))
    in_polars(pl.read_ipc_stream(path(name)))
    in_duckdb(stream(name))

# Views: everything is there, and Polars and DuckDB work with it.
has_rows(file("views.arrow"))
has_rows(stream("stdout.views"))
in_polars(pl.read_ipc(path("views.arrow")))
in_duckdb(file("views.arrow"))

# Parquet.
in_pyarrow(pq.read_table(path("all.parquet")))
in_polars(pl.read_parquet(path("all.parquet")))
in_duckdb(path("all.parquet"))

# Empty files are valid and have all columns.
for table in [file("empty.arrow"), pq.read_table(path("empty.parquet"))]:
    assert (table.num_rows, table.num_columns) == (0, 8)
assert pl.read_ipc(path("empty.arrow")).height == 0

print("all of it was read")
