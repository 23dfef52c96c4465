"""Statements in Spark's dialect: read as Spark reads them, they mean what the engine finds.

sqlglot reads the text with Spark's grammar; what it read runs in DuckDB on the same files.
"""

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp
from tests.search.lab_guide import HOURLY, UC1

from labdock.errors import SearchError

FLOWS = pa.table(
    {
        "_time": [1_534_777_200.0 + 7 * i for i in range(200)],
        "sourcetype": ["stream:tcp"] * 200,
        "source": ["XmlWinEventLog:Security"] * 200,
        "src_ip": [f"10.0.0.{i % 7}" for i in range(200)],
        "dest_ip": [f"10.1.0.{i % 11}" if i % 13 else None for i in range(200)],
        "dest_port": [i % 5 * 100 for i in range(200)],
        "bytes_in": [i * 37 % 101 if i % 17 else None for i in range(200)],
        "client_rtt": [i / 3 for i in range(200)],
        "protocol_stack": ["ip:tcp" if i % 3 else "ip:tcp:http" for i in range(200)],
        "ComputerName": [f"HOST{i % 4}" for i in range(200)],
        "Account_Name": [f"user{i % 3}" if i % 5 else None for i in range(200)],
        "EventCode": [4624 + i % 3 for i in range(200)],
    }
)

SEARCHES = [
    UC1,
    HOURLY,
    "index=botsv3 src_ip=10.0.0.* NOT dest_port=100 | stats count sum(bytes_in) as t by src_ip | sort -t src_ip",
    "index=botsv3 | stats values(dest_ip) as d max(bytes_in) min(bytes_in) by src_ip",
    'index=botsv3 | where bytes_in>50 AND src_ip="10.0.0.1" | sort _time | head 3 | table _time src_ip bytes_in',
    "index=botsv3 | top limit=2 protocol_stack",
    'index=botsv3 | eval k=if(bytes_in>50,"big",upper(src_ip)) | stats count by k',
]


def near(value):
    """Sums of fractions depend on their order."""
    return pytest.approx(value) if isinstance(value, float) else value


def meaning(text: str, paths: dict[str, str]) -> list[tuple]:
    """The rows of a statement in Spark's dialect."""
    tree = sqlglot.parse_one(text, read="spark")
    for table in list(tree.find_all(exp.Table)):
        if table.db == "parquet":
            files = exp.Array(expressions=[exp.Literal.string(paths[table.name])])
            table.replace(exp.Anonymous(this="read_parquet", expressions=[files]))
    with duckdb.connect() as connection:
        return connection.sql(tree.sql("duckdb")).fetchall()


@pytest.mark.parametrize("search", SEARCHES)
def test_it_means_what_the_engine_finds(lab, search):
    data = lab.indexes.add("botsv3", FLOWS)
    found = lab.engine.explain(search, user="anna", dialect="spark")
    assert len(found.statements) == 1
    text = found.statements[0].sql
    assert "parquet.`botsv3/0`" in text
    wanted = [tuple(row.values()) for row in lab.table(search).to_pylist()]
    assert len(wanted) > 1
    got = meaning(text, {"botsv3/0": data.files[0].path})
    assert [tuple(map(near, row)) for row in wanted] == got


def test_several_files_are_one_path(lab):
    lab.indexes.add("botsv3", FLOWS.slice(0, 10), FLOWS.slice(10))
    text = lab.engine.explain("index=botsv3 | stats count", user="anna", dialect="spark").statements[0].sql
    assert "parquet.`botsv3/{0,1}`" in text


@pytest.mark.parametrize(
    ("search", "named"),
    [
        ('index=botsv3 | eval t=strftime(_time,"%H") | stats count by t', "strftime"),
        ('index=botsv3 | eval d=split(src_ip,".") | eval m=mvmap(d,upper(d)) | table m', "function"),
    ],
)
def test_what_spark_lacks_is_refused_by_name(lab, search, named):
    lab.indexes.add("botsv3", FLOWS)
    assert lab.engine.explain(search, user="anna").statements
    with pytest.raises(SearchError, match=named):
        lab.engine.explain(search, user="anna", dialect="spark")
