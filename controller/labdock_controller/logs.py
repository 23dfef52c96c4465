"""The controller's own log: structlog to standard error, secrets cut out."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from labdock_controller.settings import Settings

SECRET = re.compile(r"\b(ld[kst]_)[A-Za-z0-9_-]{8,}|(?i:(bearer|token|ticket)([ =:]+))[A-Za-z0-9_.-]{16,}")
SECRET_KEYS = frozenset({"token", "password", "secret", "authorization", "cookie", "ticket"})


def redacted(text: str) -> str:
    """Tokens become `***`, in whatever text they stand."""
    return SECRET.sub(lambda m: f"{m[1]}***" if m[1] else f"{m[2]}{m[3]}***", text)


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key in SECRET_KEYS:
            event[key] = "***"
        elif isinstance(value, str):
            event[key] = redacted(value)
    return event


def _console() -> Any:
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def configure(settings: Settings) -> None:
    """Once for the process. The standard library's loggers end in the same place."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final = [structlog.processors.format_exc_info, _redact] if as_json else [_redact]
    renderer: Any = structlog.processors.JSONRenderer() if as_json else _console()
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("uvicorn.access", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
