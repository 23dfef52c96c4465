"""Ingest: every format, sniffed by content; what cannot be read is named with its line."""

import bz2
import datetime as dt
import gzip
import json
import lzma
import subprocess
import threading
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.search.data.conftest import rows_of

from labdock.errors import InvalidOptions
from labdock_search.data.indexes import Indexes
from labdock_search.data.ingest import FileReport, IngestOptions, Progress, ingest
from labdock_search.protocols import Caller

MOMENT = 1_600_000_000.0
CSV = "time,user,code,bytes,ratio\n2020-09-13T12:26:40Z,ann,007,10,0.5\n2020-09-13T12:26:41Z,bob,12,-3,\n"


def put(indexes: Indexes, path: Path, content: "str | bytes", **options: object) -> FileReport:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    report = ingest(indexes, [path], "main", IngestOptions(**options))  # type: ignore[arg-type]
    return report.files[0]


def test_csv(indexes: Indexes, tmp_path: Path, caller: Caller) -> None:
    report = put(indexes, tmp_path / "a.csv", CSV, sourcetype="st", source="s", host="h")
    assert (report.format, report.rows, report.bad, report.undated) == ("csv", 2, 0, 0)
    assert rows_of(indexes, "main", '_time, "user", code, bytes, ratio, index, source, sourcetype, host') == [
        {"_time": MOMENT, "user": "ann", "code": "007", "bytes": 10, "ratio": 0.5}
        | {"index": "main", "source": "s", "sourcetype": "st", "host": "h"},
        {"_time": MOMENT + 1, "user": "bob", "code": "12", "bytes": -3, "ratio": None}
        | {"index": "main", "source": "s", "sourcetype": "st", "host": "h"},
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_csv_in_any_encoding_and_delimiter(indexes: Indexes, tmp_path: Path, delimiter: str, encoding: str) -> None:
    text = "time,näme\n2020-09-13T12:26:40Z,é\n".replace(",", delimiter)
    report = put(indexes, tmp_path / "a.txt", text.encode(encoding))
    assert report.rows == 1
    assert rows_of(indexes, "main", "näme") == [{"näme": "é"}]
    assert bool(report.notices) == (encoding == "latin-1")


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["1", "2"], "int64"),
        (["-1", "9223372036854775807"], "int64"),
        (["9223372036854775808"], "string"),
        (["007"], "string"),
        (["+5"], "string"),
        (["0x1f"], "string"),
        (["1.5", "2"], "double"),
        (["1.50", "-0.25"], "double"),
        (["1e-05", "2.5e+10"], "double"),
        (["1e3"], "string"),
        (["12e4", "7e10"], "string"),
        (["00.5"], "string"),
        (["1.5", "12345678901234567"], "string"),
        (["1.5", "nan", "-inf"], "double"),
        (["nan", "inf"], "string"),
        (["1_000"], "string"),
        (["true", "false"], "string"),
        (["1", "x"], "string"),
        (["", ""], "string"),
        (["1", ""], "int64"),
        (["1 "], "string"),
        (["\uff11"], "string"),
    ],
)
def test_csv_types_lose_no_text(
    indexes: Indexes, tmp_path: Path, values: list[str], type_: str, caller: Caller
) -> None:
    lines = "".join(f"{MOMENT},{v}\n" for v in values)
    put(indexes, tmp_path / "a.csv", f"_time,v\n{lines}")
    assert str(indexes.open("main", caller).schema.field("v").type) == type_
    if type_ == "string":
        assert sorted(r["v"] or "" for r in rows_of(indexes, "main", "v, _time")) == sorted(values)


def test_csv_types_are_decided_by_the_whole_file(indexes: Indexes, tmp_path: Path, caller: Caller) -> None:
    lines = "".join(f"{MOMENT},{i},{i}\n" for i in range(400_000))
    put(indexes, tmp_path / "a.csv", f"_time,n,late\n{lines}{MOMENT},1,007\n")
    schema = indexes.open("main", caller).schema
    assert (str(schema.field("n").type), str(schema.field("late").type)) == ("int64", "string")


def test_malformed_csv_lines_are_named_with_their_numbers(indexes: Indexes, tmp_path: Path, home: Path) -> None:
    content = '_time,a\n1600000000,1\nonly\n1600000001,"two\nlines"\n1600000002,3,4\n\n1600000003,5\n'
    path = tmp_path / "a.csv"
    path.write_text(content)
    report = ingest(indexes, [path], "main")
    assert (report.rows, report.bad) == (3, 2)
    assert [(p.line, p.text) for p in report.files[0].problems] == [(3, "only"), (6, "1600000002,3,4")]
    kept = (home / "ingest-errors" / report.error_report).read_text().splitlines()
    assert [json.loads(line)["line"] for line in kept] == [3, 6]


def test_an_unclosed_quote_costs_its_line_only(indexes: Indexes, tmp_path: Path) -> None:
    lines = [f"{1_600_000_000 + i},v{i}" for i in range(1000)]
    lines[500] = '1600000500,"never closed'
    report = put(indexes, tmp_path / "a.csv", "_time,a\n" + "\n".join(lines) + "\n")
    assert (report.rows, report.bad, report.problems[0].line) == (999, 1, 502)
    assert "line by line" in report.notices[0]


def test_csv_header_oddities_are_told(indexes: Indexes, tmp_path: Path, caller: Caller) -> None:
    report = put(indexes, tmp_path / "a.csv", "_time,a,,a\n1600000000,1,2,3\n")
    assert indexes.open("main", caller).schema.names[-3:] == ["a", "column_3", "a_2"]
    assert len(report.notices) == 2


def test_json_lines_become_fields(indexes: Indexes, tmp_path: Path) -> None:
    lines = [
        '{"time":1600000000,"a":{"b":1,"c":{"d":"x"}},"tags":["p",2],"list":[{"k":1},{"k":2}],"n":null}',
        '{"time": 1600000001, "big": 123456789012345678901234567890, "ok": true}',
    ]
    report = put(indexes, tmp_path / "a.log", "\n".join(lines))
    assert (report.format, report.rows) == ("json", 2)
    first, second = rows_of(indexes, "main", '"a.b", "a.c.d", "tags{}", "list{}.k", big, ok, _raw, sourcetype, _time')
    assert (first["a.b"], first["a.c.d"], first["tags{}"], first["list{}.k"]) == (1, "x", ["p", "2"], ["1", "2"])
    assert (second["big"], second["ok"]) == ("123456789012345678901234567890", "true")
    assert (first["_raw"], first["sourcetype"]) == (lines[0], "_json")


@pytest.mark.parametrize(
    "content",
    [
        '[{"time": 1600000000, "a": 1}, {"time": 1600000001, "a": 2}]',
        json.dumps([{"time": 1600000000, "a": 1}, {"time": 1600000001, "a": 2}], indent=2),
        json.dumps({"time": 1600000000, "a": 1}, indent=4) + "\n" + json.dumps({"time": 1600000001, "a": 2}, indent=1),
        '{"time": 1600000000, "a": 1}{"time": 1600000001, "a": 2}',
        '\n\n{"time": 1600000000, "a": 1}\r\n{"time": 1600000001, "a": 2}\r\n',
        '\ufeff{"time": 1600000000, "a": 1}\n{"time": 1600000001, "a": 2}',
        '{"result": {"_raw": "x", "_time": "2020-09-13T12:26:40.000+00:00", "a": 1}}\n'
        '{"result": {"_raw": "y", "_time": "2020-09-13T12:26:41.000+00:00", "a": 2}}',
    ],
)
def test_json_however_it_is_laid_out(indexes: Indexes, tmp_path: Path, content: str) -> None:
    report = put(indexes, tmp_path / "a", content)
    assert (report.rows, report.bad) == (2, 0)
    assert rows_of(indexes, "main", "_time, a") == [{"_time": MOMENT, "a": 1}, {"_time": MOMENT + 1, "a": 2}]


def test_malformed_json_is_named_and_the_rest_read(indexes: Indexes, tmp_path: Path) -> None:
    lines = ['{"time":1600000000,"a":1}', "oops", '{"a":', "[1, 2]", "3", '{"time":1600000001,"a":2}']
    report = put(indexes, tmp_path / "a.jsonl", "\n".join(lines))
    assert (report.rows, report.bad) == (2, 4)
    assert [p.line for p in report.problems] == [2, 3, 4, 5]


def test_malformed_pretty_json_is_skipped_to_the_next_object(indexes: Indexes, tmp_path: Path) -> None:
    good = json.dumps({"time": 1600000000, "text": "{ not one }"}, indent=1)
    report = put(indexes, tmp_path / "a.json", f'{good}\n{{\n "a": oops\n}}\n{good}\n{{"cut": ')
    assert (report.rows, report.bad) == (2, 2)
    assert report.problems[0].line == 5


def test_a_field_of_mixed_types_in_one_file_is_text(indexes: Indexes, tmp_path: Path) -> None:
    put(
        indexes,
        tmp_path / "a.json",
        '{"time":1600000000,"s":200}\n{"time":1600000001,"s":"ok"}\n{"time":1600000002,"s":1.5}',
    )
    assert [r["s"] for r in rows_of(indexes, "main", "s, _time")] == ["200", "ok", "1.5"]


ZEEK = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#open\t2020-09-13\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tlocal_orig"
    "\ttunnel_parents\tnote\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tbool\tset[string]\tstring\tcount"
    "\tcount\tcount\tcount\n"
    "1600000000.500000\tC1\t10.0.0.1\t1234\t10.0.0.2\t80\ttcp\thttp\t0.25\t10\tT\ta,b\tx\\x09y\t3\t100\t4\t200\n"
    "1600000001.000000\tC2\t10.0.0.1\t1235\t10.0.0.3\t53\tudp\t-\t-\t-\tF\t(empty)\t(empty)\t1\t50\t0\t0\n"
    "#close\t2020-09-13\n"
)


def test_zeek_logs(indexes: Indexes, tmp_path: Path) -> None:
    report = put(indexes, tmp_path / "conn.log", ZEEK)
    assert (report.format, report.rows, report.bad) == ("zeek", 2, 0)
    first, second = rows_of(
        indexes,
        "main",
        '_time, "id.orig_p", proto, service, duration, orig_bytes, local_orig, tunnel_parents, note, sourcetype',
    )
    assert first == {
        "_time": 1600000000.5, "id.orig_p": 1234, "proto": "tcp", "service": "http", "duration": 0.25, "orig_bytes": 10,
        "local_orig": "true", "tunnel_parents": ["a", "b"], "note": "x\ty", "sourcetype": "zeek:conn",
    }  # fmt: skip
    assert (second["service"], second["duration"], second["orig_bytes"]) == (None, None, None)
    assert (second["local_orig"], second["tunnel_parents"], second["note"]) == ("false", [], "")


def test_zeek_problems_are_named(indexes: Indexes, tmp_path: Path) -> None:
    lines = ZEEK.splitlines()
    lines.insert(9, "too\tshort")
    lines.insert(10, lines[8].replace("1234", "many"))
    report = put(indexes, tmp_path / "conn.log", "\n".join(lines))
    assert (report.rows, report.bad) == (2, 2)
    assert [p.line for p in report.problems] == [10, 11]


def test_several_zeek_logs_in_one_file(indexes: Indexes, tmp_path: Path) -> None:
    dns = "#separator \\x09\n#path\tdns\n#fields\tts\tquery\n#types\ttime\tstring\n1600000009\texample.org\n"
    report = put(indexes, tmp_path / "all.log", ZEEK + dns)
    assert report.rows == 3
    assert rows_of(indexes, "main", "query, duration, _time")[2] == {
        "query": "example.org", "duration": None, "_time": 1600000009.0,
    }  # fmt: skip


def test_zeek_connections_as_stream(indexes: Indexes, tmp_path: Path) -> None:
    as_json = json.dumps(
        {"ts": 1600000002.0, "id.orig_h": "10.0.0.9", "id.orig_p": 1, "id.resp_h": "10.0.0.2", "id.resp_p": 443}
        | {"proto": "tcp", "service": "ssl", "duration": 0.000001, "orig_ip_bytes": 5, "resp_ip_bytes": 6}
    )
    put(indexes, tmp_path / "conn.log", ZEEK, sourcetype="stream:tcp")
    put(indexes, tmp_path / "conn.json", as_json, sourcetype="stream:tcp")
    found = rows_of(
        indexes, "main", "src_ip, dest_ip, dest_port, bytes_in, bytes_out, client_rtt, protocol_stack, _time"
    )
    assert [tuple(r.values())[:-1] for r in found] == [
        ("10.0.0.1", "10.0.0.2", 80, 100, 200, 250000.0, "ip:tcp:http"),
        ("10.0.0.1", "10.0.0.3", 53, 50, 0, None, "ip:udp"),
        ("10.0.0.9", "10.0.0.2", 443, 5, 6, 1.0, "ip:tcp:ssl"),
    ]


WINDOWS = {
    "nxlog": {
        "EventTime": "2020-09-13 12:26:40", "Hostname": "PC1", "EventID": 4624, "Channel": "Security",
        "SourceName": "Microsoft-Windows-Security-Auditing", "RecordNumber": 7, "SubjectUserName": "PC1$",
        "TargetUserName": "bob", "TargetDomainName": "CORP", "LogonType": "3", "IpAddress": "10.0.0.1",
    },
    "winlogbeat 7": {
        "@timestamp": "2020-09-13T12:26:40.000Z",
        "winlog": {
            "channel": "Security", "event_id": 4624, "computer_name": "PC1", "record_id": 7,
            "provider_name": "Microsoft-Windows-Security-Auditing",
            "event_data": {"SubjectUserName": "PC1$", "TargetUserName": "bob", "TargetDomainName": "CORP",
                           "LogonType": "3", "IpAddress": "10.0.0.1"},
        },
    },
    "winlogbeat 6": {
        "@timestamp": "2020-09-13T12:26:40.000Z", "log_name": "Security", "event_id": 4624, "computer_name": "PC1",
        "record_number": "7", "source_name": "Microsoft-Windows-Security-Auditing",
        "event_data": {"SubjectUserName": "PC1$", "TargetUserName": "bob", "TargetDomainName": "CORP",
                       "LogonType": "3", "IpAddress": "10.0.0.1"},
    },
    "evtx_dump": {
        "Event": {
            "#attributes": {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"},
            "System": {
                "Provider": {"#attributes": {"Name": "Microsoft-Windows-Security-Auditing"}},
                "EventID": 4624, "TimeCreated": {"#attributes": {"SystemTime": "2020-09-13T12:26:40.000000Z"}},
                "EventRecordID": 7, "Channel": "Security", "Computer": "PC1",
            },
            "EventData": {"SubjectUserName": "PC1$", "TargetUserName": "bob", "TargetDomainName": "CORP",
                          "LogonType": 3, "IpAddress": "10.0.0.1"},
        }
    },
    "Windows Event API": {
        "Event": {
            "System": {
                "Provider": {"@Name": "Microsoft-Windows-Security-Auditing"},
                "EventID": {"#text": "4624", "@Qualifiers": "0"},
                "TimeCreated": {"@SystemTime": "2020-09-13T12:26:40.000Z"},
                "EventRecordID": "7", "Channel": "Security", "Computer": "PC1",
            },
            "EventData": {"Data": [
                {"@Name": "SubjectUserName", "#text": "PC1$"}, {"@Name": "TargetUserName", "#text": "bob"},
                {"@Name": "TargetDomainName", "#text": "CORP"}, {"@Name": "LogonType", "#text": "3"},
                {"@Name": "IpAddress", "#text": "10.0.0.1"},
            ]},
        }
    },
    "Azure Sentinel": {
        "TimeGenerated": "2020-09-13T12:26:40Z", "Computer": "PC1", "EventID": 4624, "Channel": "Security",
        "EventSourceName": "Microsoft-Windows-Security-Auditing", "EventRecordId": 7, "SubjectUserName": "PC1$",
        "TargetUserName": "bob", "TargetDomainName": "CORP", "LogonType": 3, "IpAddress": "10.0.0.1",
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", WINDOWS)
def test_windows_events_get_the_same_fields_from_every_layout(indexes: Indexes, tmp_path: Path, layout: str) -> None:
    put(indexes, tmp_path / "events.json", json.dumps(WINDOWS[layout]))
    names = (
        "_time, EventCode, ComputerName, LogName, SourceName, RecordNumber, Account_Name, Account_Domain, "
        "Subject_Account_Name, Target_Account_Name, Logon_Type, Source_Network_Address, host, source, sourcetype"
    )
    assert rows_of(indexes, "main", names) == [
        {
            "_time": MOMENT, "EventCode": 4624, "ComputerName": "PC1", "LogName": "Security",
            "SourceName": "Microsoft-Windows-Security-Auditing", "RecordNumber": 7, "Account_Name": "bob",
            "Account_Domain": "CORP", "Subject_Account_Name": "PC1$", "Target_Account_Name": "bob", "Logon_Type": 3,
            "Source_Network_Address": "10.0.0.1", "host": "PC1", "source": "WinEventLog:Security",
            "sourcetype": "WinEventLog:Security",
        }
    ]  # fmt: skip


def test_a_windows_event_without_an_account_has_none(indexes: Indexes, tmp_path: Path) -> None:
    event = {"Event": {"System": {"EventID": 5156, "Channel": "Security", "Computer": "PC1",
                                  "TimeCreated": {"#attributes": {"SystemTime": "2020-09-13T12:26:40Z"}}},
                       "EventData": {"SubjectUserName": "-"}}}  # fmt: skip
    named = {**event, "Event": {**event["Event"], "EventData": {"SubjectUserName": "ann"}}}
    put(indexes, tmp_path / "e.json", json.dumps(event) + "\n" + json.dumps(named))
    assert sorted(str(r["Account_Name"]) for r in rows_of(indexes, "main", "Account_Name, _time")) == ["None", "ann"]


@pytest.mark.parametrize("kind", ["parquet", "arrow file", "arrow stream"])
def test_arrow_formats_with_every_type(indexes: Indexes, tmp_path: Path, kind: str, caller: Caller) -> None:
    moment = dt.datetime(2020, 9, 13, 12, 26, 40, tzinfo=dt.UTC)
    table = pa.table(
        {
            "timestamp": pa.array([moment], pa.timestamp("ns", "UTC")),
            "u8": pa.array([255], pa.uint8()),
            "flag": pa.array([True]),
            "u64": pa.array([2**64 - 1], pa.uint64()),
            "f32": pa.array([0.5], pa.float32()),
            "cat": pa.array(["x"]).dictionary_encode(),
            "big": pa.array(["y"], pa.large_string()),
            "day": pa.array([dt.date(2020, 9, 13)]),
            "bin": pa.array([b"\xff\x00"]),
            "nested": pa.array([{"a": 1, "b": {"c": "z"}}]),
            "list": pa.array([[1, None, 2]], pa.list_(pa.int32())),
            "dec": pa.array([None], pa.decimal128(10, 2)),
            "nothing": pa.nulls(1),
        }
    )
    path = tmp_path / "data.bin"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        make = pa.ipc.new_file if kind == "arrow file" else pa.ipc.new_stream
        with make(path, table.schema) as writer:
            writer.write_table(table)
    (report,) = ingest(indexes, [path], "main").files
    assert (report.rows, report.error) == (1, "")
    (row,) = rows_of(indexes, "main")
    expected = {
        "_time": MOMENT, "timestamp": MOMENT, "u8": 255, "flag": "true", "u64": str(2**64 - 1), "f32": 0.5, "cat": "x",
        "big": "y", "day": "2020-09-13", "bin": "/wA=", "nested.a": 1, "nested.b.c": "z", "list": ["1", "2"],
        "dec": None, "nothing": None,
    }  # fmt: skip
    assert {k: row[k] for k in expected} == expected


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".anything", gzip.compress),
     (".zst", lambda b: subprocess.run(["zstd", "-c"], input=b, capture_output=True, check=True).stdout),
     (".two", lambda b: gzip.compress(b[:40]) + gzip.compress(b[40:]))],
)  # fmt: skip
def test_compressed_files(indexes: Indexes, tmp_path: Path, suffix: str, compress) -> None:  # type: ignore[no-untyped-def]
    assert put(indexes, tmp_path / f"a{suffix}", compress(CSV.encode())).rows == 2


def test_compressed_parquet(indexes: Indexes, tmp_path: Path) -> None:
    pq.write_table(pa.table({"time": [MOMENT]}), tmp_path / "a")
    assert put(indexes, tmp_path / "a.gz", gzip.compress((tmp_path / "a").read_bytes())).rows == 1


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"ElfFile\0\0\0", "Windows event log"),
        (b"PK\x03\x04junk", "zip"),
        (b"<?xml version='1.0'?>", "XML"),
        (b"\x7fELF\x02\x01\x01\0\0", "neither text"),
        (bytes(range(256)) * 20, "neither text"),
        (b"PAR1 broken", "damaged"),
        (b"ARROW1\0\0broken", "damaged"),
        (gzip.compress(CSV.encode() * 1000)[:-20], "could not be read"),
        (b"\x1f\x8bnot gzip at all", "could not be read"),
    ],
)
def test_what_cannot_be_ingested_is_refused_by_name(
    indexes: Indexes, tmp_path: Path, content: bytes, word: str
) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good.csv"
    bad.write_bytes(content)
    good.write_text(CSV)
    report = ingest(indexes, [bad, tmp_path / "absent", good], "main")
    assert word in report.files[0].error
    assert "bad" in report.files[0].error
    assert str(tmp_path) not in report.files[0].error
    assert "absent" in report.files[1].error
    assert [f.rows for f in report.files] == [0, 0, 2], "the others are ingested"
    assert len(rows_of(indexes, "main")) == 2, "nothing of a bad file remains"


def test_an_empty_file_is_no_error(indexes: Indexes, tmp_path: Path) -> None:
    for content in (b"", b"\n \n", b"a,b\n"):
        report = put(indexes, tmp_path / "e.csv", content)
        assert (report.rows, report.error, report.bad) == (0, "", 0)


def test_the_same_file_is_not_ingested_twice_unless_asked(indexes: Indexes, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert put(indexes, path, CSV).rows == 2
    again = put(indexes, path, CSV)
    assert (again.rows, again.skipped) == (0, True)
    assert put(indexes, path, CSV, sourcetype="other").rows == 2
    assert put(indexes, path, CSV, again=True).rows == 2
    assert len(rows_of(indexes, "main")) == 6


def test_own_metadata_loses_to_options_and_is_kept(indexes: Indexes, tmp_path: Path) -> None:
    content = "_time,source,host,index\n1600000000,mine,h1,elsewhere\n1600000001,,h2,elsewhere\n"
    put(indexes, tmp_path / "a.csv", content, host="given")
    found = rows_of(indexes, "main", "source, host, extracted_host, index, _time")
    assert [tuple(r.values())[:-1] for r in found] == [
        ("mine", "given", "h1", "main"),
        ("a.csv", "given", "h2", "main"),
    ]


def test_a_default_source_yields_to_an_events_own(indexes: Indexes, tmp_path: Path) -> None:
    lines = json.dumps(WINDOWS["nxlog"]) + "\n" + '{"time": 1600000000, "plain": 1}'
    put(indexes, tmp_path / "e.json", lines, default_source="/logs/e.json")
    found = {r["source"] for r in rows_of(indexes, "main", "source, _time")}
    assert found == {"WinEventLog:Security", "/logs/e.json"}


def test_undated_events_take_the_time_before_them(indexes: Indexes, tmp_path: Path) -> None:
    report = put(indexes, tmp_path / "a.csv", "time,n\n1600000000,1\nsoon,2\n1600000005,3\n")
    assert report.undated == 1
    assert [(r["_time"], r["n"]) for r in rows_of(indexes, "main", "_time, n", "n")] == [
        (MOMENT, 1), (MOMENT, 2), (MOMENT + 5, 3)
    ]  # fmt: skip


def test_options_are_checked(indexes: Indexes, tmp_path: Path) -> None:
    report = put(indexes, tmp_path / "a.csv", CSV, time_field="when")
    assert "when" in report.error
    assert "user" in report.error
    for options in ({"format": "xls"}, {"source": " "}, {"zone": "Nowhere"}):
        with pytest.raises(InvalidOptions):
            put(indexes, tmp_path / "a.csv", CSV, **options)


def test_progress_and_cancel(indexes: Indexes, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("_time,n\n" + "".join(f"1600000000,{i}\n" for i in range(900_000)))
    seen: list[Progress] = []
    cancel = threading.Event()

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 2:
            cancel.set()

    report = ingest(indexes, [path, path], "main", progress=stop, cancel=cancel)
    assert "cancelled" in report.files[0].error
    assert len(report.files) == 1
    assert rows_of(indexes, "main") == []
    assert 0 < seen[0].rows < seen[1].rows
    assert 0 < seen[1].bytes <= seen[1].total == 2 * path.stat().st_size


_CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(_CELL, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)), min_size=1, max_size=30)
)
def test_csv_written_by_pandas_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    folder = tmp_path_factory.mktemp("csv")
    frame = pd.DataFrame([(MOMENT + i, *r) for i, r in enumerate(rows)], columns=["_time", "s", "i", "f"])
    frame.to_csv(folder / "a.csv", index=False, encoding="utf-8")
    indexes = Indexes(folder)
    (report,) = ingest(indexes, [folder / "a.csv"], "main").files
    if any(ord(c) < 32 and c not in "\n\t\f\x1b\x0b" for r in rows for c in r[0]):
        return  # control characters: told to be no text
    assert (report.error, report.bad, report.rows) == ("", 0, len(rows))
    found = rows_of(indexes, "main", "s, i, f, _time")
    for row, back in zip(rows, found, strict=True):
        assert str(back["i"]) == str(row[1])
        assert float(back["f"]) == row[2]
        assert str(back["s"] if back["s"] is not None else "") == row[0]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.text(max_size=4), _JSON, max_size=4), min_size=1, max_size=10))
def test_any_json_object_is_an_event(tmp_path_factory: pytest.TempPathFactory, objects: list[dict]) -> None:
    folder = tmp_path_factory.mktemp("json")
    lines = [json.dumps({**o, "_time": MOMENT + i}) for i, o in enumerate(objects)]
    (folder / "a.json").write_text("\n".join(lines))
    indexes = Indexes(folder)
    (report,) = ingest(indexes, [folder / "a.json"], "main").files
    assert (report.error, report.bad, report.rows) == ("", 0, len(objects))
    found = rows_of(indexes, "main", "_raw, _time")
    for i, row in enumerate(found):
        expected = objects[i].get("_raw")
        if not isinstance(expected, str):
            continue
        assert row["_raw"] == expected
