"""Zeek's connection logs under the names of Splunk Stream (`stream:tcp`, `stream:udp`), which the lab's searches use.

Zeek measures no round trip time: `client_rtt` is the flow's duration in microseconds, a stand-in, as in
`docs/data.md`.
"""

from collections.abc import MutableMapping

import pyarrow as pa
import pyarrow.compute as pc

from labdock_search.data import fields

_RENAMED = {
    "id.orig_h": "src_ip",
    "id.orig_p": "src_port",
    "id.resp_h": "dest_ip",
    "id.resp_p": "dest_port",
    "proto": "transport",
    "service": "app",
    "orig_ip_bytes": "bytes_in",
    "resp_ip_bytes": "bytes_out",
    "orig_pkts": "packets_in",
    "resp_pkts": "packets_out",
    "orig_bytes": "data_bytes_in",
    "resp_bytes": "data_bytes_out",
}


def add_fields(columns: MutableMapping[str, pa.ChunkedArray], sourcetype: str | None) -> None:
    """Rename a connection log's columns where the sourcetype asked for is one of Stream's."""
    if not (sourcetype or "").startswith("stream:") or "id.orig_h" not in columns or "proto" not in columns:
        return
    for zeek, name in _RENAMED.items():
        if zeek in columns:
            columns[name] = columns.pop(zeek)
    if "duration" in columns:
        micro = pc.round(pc.multiply(columns["duration"], 1e6))
        columns["time_taken"] = pc.cast(micro, fields.INT)
        columns["client_rtt"] = micro
    app = columns.get("app")
    stack = pc.binary_join_element_wise("ip", columns["transport"], ":")
    if app is not None and app.type == fields.TEXT:
        full = pc.binary_join_element_wise("ip", columns["transport"], pc.replace_substring(app, ",", ":"), ":")
        stack = pc.coalesce(full, stack)
    columns["protocol_stack"] = stack
