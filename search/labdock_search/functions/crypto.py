"""Digests."""

from labdock_search import sql
from labdock_search.functions.base import Arguments, function, string
from labdock_search.kinds import Value

FAMILY = "cryptographic"


def _digest(args: Arguments, name: str) -> Value:
    value = args.string(0)
    return string(sql.call(name, value.use()), value)


@function("md5", "md5(text)", "MD5 in hex.", FAMILY, 1, -1, ('md5("a")', "0cc175b9c0f1b6a831c399e269772661"))
def md5(args: Arguments) -> Value:
    return _digest(args, "md5")


@function(
    "sha1", "sha1(text)", "SHA-1 in hex.", FAMILY, 1, -1, ('sha1("a")', "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8")
)
def sha1(args: Arguments) -> Value:
    return _digest(args, "sha1")


@function(
    "sha256",
    "sha256(text)",
    "SHA-256 in hex.",
    FAMILY,
    1,
    -1,
    ('sha256("a")', "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
)
def sha256(args: Arguments) -> Value:
    return _digest(args, "sha256")


@function(
    "sha512",
    "sha512(text)",
    "SHA-512 in hex.",
    FAMILY,
    1,
    -1,
    (
        'sha512("a")',
        "1f40fc92da241694750979ee6cf582f2d5d7d28e18335de05abc54d0560e0f53"
        "02860c652bf08d560252aa5e74210546f369fbbbce8c12cfc7957b2652fe9a75",
    ),
)
def sha512(args: Arguments) -> Value:
    args.scope.plan.uses_python("labdock_sha512")
    return _digest(args, "labdock_sha512")
