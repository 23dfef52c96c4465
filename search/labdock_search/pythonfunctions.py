"""The few functions that DuckDB lacks, in Python. Registered only for statements that call one."""

import functools
import hashlib
import ipaddress
from collections.abc import Callable
from typing import Any

import duckdb


@functools.lru_cache(maxsize=4096)
def _network(text: str) -> Any:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def cidrmatch(network: str, address: str) -> bool:
    found = _network(network)
    if found is None:
        return False
    try:
        return ipaddress.ip_address(address.strip()) in found
    except (ValueError, TypeError):
        return False


def sha512(text: str) -> str:
    return hashlib.sha512(text.encode("utf-8", "surrogatepass")).hexdigest()


def ipmask(mask: str, address: str) -> str | None:
    try:
        bits, wanted = ipaddress.ip_address(address.strip()), ipaddress.ip_address(mask.strip())
    except ValueError:
        return None
    if bits.version != wanted.version:
        return None
    return str(type(bits)(int(bits) & int(wanted)))


FUNCTIONS: dict[str, tuple[Callable[..., Any], int, str]] = {
    "labdock_cidrmatch": (cidrmatch, 2, "BOOLEAN"),
    "labdock_sha512": (sha512, 1, "VARCHAR"),
    "labdock_ipmask": (ipmask, 2, "VARCHAR"),
}


def register(connection: duckdb.DuckDBPyConnection, names: set[str]) -> None:
    for name in sorted(names):
        function, arguments, result = FUNCTIONS[name]
        connection.create_function(name, function, ["VARCHAR"] * arguments, result)
