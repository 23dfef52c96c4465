"""Words of the native wire format that both sides of every connection share (`docs/interfaces.md`)."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from labdock.errors import InvalidOptions

ARROW_STREAM = "application/vnd.apache.arrow.stream"
CSV = "text/csv"
PROBLEM = "application/problem+json"

OPTIONS_HEADER = "Labdock-Options"
SPOOL_HEADER = "Labdock-Spool"
SPOOL_SIZE_HEADER = "Labdock-Spool-Size"  # the frame is the file's first so many bytes; the next one may come in it
SPOOL_KEPT_HEADER = "Labdock-Spool-Kept"  # an answer's: nothing refers to the file any more, write it again
KEY_HEADER = "Idempotency-Key"
JOB_HEADER = "Labdock-Job"
RECORD_HEADER = "Labdock-Record"  # a fit's answer: what the controller's record of the model needs, unless it is long

KERNEL_TOKEN = "lde_"  # noqa: S105 - how a kernel's credential begins: lde_<environment id>_<the environment's token>

# In an Arrow schema's metadata: options on the way in, info on the way out.
OPTIONS_METADATA = b"labdock.options"
INFO_METADATA = b"labdock.info"

# Servers take 64 KiB of headers at most; longer options travel in the schema's metadata.
OPTIONS_HEADER_LIMIT = 16_384


@dataclass(frozen=True)
class FrameOptions:
    """What a stage, fit or apply is asked to do.

    `algo` is the module's name, `model` the model's name without prefixes, `features` and `target` field names in
    order, `params` free values for the module (strings when they come from a search). `sharing` is for the
    controller's record of the model: `app` or `global`; empty leaves it as it is (a new model is its owner's).
    `version` applies an earlier version of the model; 0 is the newest.
    `inside`, in a header, says that the rest lies in the frame's schema; `algo`, `model` and `sharing` of the header
    count, since they were checked on the way.
    """

    algo: str = ""
    model: str = "default"
    features: list[str] = field(default_factory=list)
    target: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    sharing: str = ""
    inside: bool = False
    version: int = 0

    def to_json(self) -> str:
        """ASCII JSON that fits a header when short; leaves out what equals the default."""
        empty = FrameOptions()
        return json.dumps({k: v for k, v in asdict(self).items() if v != getattr(empty, k)})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse; raises `InvalidOptions` that names the field."""
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InvalidOptions(f"The options are not JSON: {error}.", remedy="Send a JSON object.") from None
        return cls.from_dict(value)

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """Check names and types; raises `InvalidOptions`."""
        if not isinstance(value, dict):
            raise InvalidOptions("The options are not a JSON object.", remedy='Send an object such as {"algo": …}.')
        types = {f.name: type(getattr(cls(), f.name)) for f in fields(cls)}
        for key, item in value.items():
            if key not in types:
                raise InvalidOptions(f"Unknown option {key!r}.", remedy=f"Options are: {', '.join(types)}.", option=key)
            if not isinstance(item, types[key]):
                raise InvalidOptions(
                    f"Option {key!r} is a {type(item).__name__}.",
                    remedy=f"Send a {types[key].__name__}.",
                    option=key,
                )
        for key in ("features", "target"):
            bad = next((x for x in value.get(key, []) if not isinstance(x, str)), None)
            if bad is not None:
                raise InvalidOptions(
                    f"Option {key!r} holds {bad!r}.", remedy="Send field names as strings.", option=key
                )
        return cls(**value)
