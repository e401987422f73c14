"""The settings that an operator can change, even while the chain runs: logging and tracing."""

from __future__ import annotations

import codecs
import logging
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vmsdk.runtime import logs
from vmsdk.runtime.logrecords import check_format, level_number

# json and pathlib are imported later: the node waits 5 s for the handshake.
if TYPE_CHECKING:
    from pathlib import Path

MEMBER = "vmsdk"
"""The member of a chain's config, a JSON object, that is for vmsdk."""
FILE = "vmsdk.json"
"""The file in the chain's data directory whose members replace those of `MEMBER`."""

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"

_log = logging.getLogger("vmsdk")


class Settings:
    """The settings of a chain: from its config, and from a file that is read when it changes."""

    def __init__(self, log_level: int | str, log_format: str = "plain") -> None:
        """*log_level* and *log_format* apply until they are set."""
        self._values: dict[str, Any] = {
            "log-level": log_level,
            "log-format": log_format,
            "trace-endpoint": None,
            "trace-ratio": 1.0,
        }
        self._defaults = dict(self._values)
        self._appliers: dict[str, Callable[[Any], None]] = {
            "log-level": _set_level,
            "log-format": _set_format,
            "trace-endpoint": _check_endpoint,
            "trace-ratio": _check_ratio,
        }
        self.trace_to: Callable[[str | None, float], None] = lambda endpoint, ratio: None
        """Called when an endpoint is set, or the ratio of traces that go there."""
        self._file: Path | None = None
        self._version: object = None

    def take(self, config: bytes, directory: Path) -> bytes:
        """Apply the settings in *config* and in the file in *directory*, and watch the file.

        Returns the config without them. A config that isn't a JSON object, or has no member for
        vmsdk, is returned unchanged.
        """
        config, found = _split(config)
        # Empty on a node, unless the plugin was installed with it.
        if (endpoint := os.environ.get(ENDPOINT_VARIABLE)) and isinstance(found, dict):
            found = {"trace-endpoint": endpoint, **found}
        self._apply(found, f"member {MEMBER!r} of the chain's config")
        self._defaults = dict(self._values)
        if directory.is_absolute():
            self._file = directory / FILE
            self.refresh()
        return config

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self._file is None:
            return
        try:
            status = self._file.stat()
            version: object = status.st_mtime_ns, status.st_size, status.st_ino
            usable = stat.S_ISREG(status.st_mode)
        except OSError:
            version, usable = None, True
        if version == self._version:
            return
        self._version = version
        if not usable:  # reading a pipe would wait for its writer
            _report(logging.WARNING, "%s is ignored, since it is not a regular file", self._file)
            return
        import json

        try:
            text = b"{}" if version is None else self._file.read_bytes()
            found = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            _report(logging.WARNING, "%s is ignored, since it can't be read as JSON: %s", self._file, error)
            return
        if not isinstance(found, dict):
            _report(
                logging.WARNING,
                '%s is ignored: it must contain a JSON object, such as {"log-level": "debug"}',
                self._file,
            )
            return
        self._apply({**self._defaults, **found}, str(self._file))

    def _apply(self, found: Any, where: str) -> None:
        if not isinstance(found, dict):
            _report(
                logging.WARNING,
                '%s is ignored: it must be an object, such as {"log-level": "debug"}',
                where,
            )
            return
        before = self._traced
        for name, value in found.items():
            apply = self._appliers.get(name)
            if name == MEMBER:  # as in the chain's config
                _report(logging.WARNING, "%s: write the settings in it without %r around them", where, name)
            elif apply is None:
                known = ", ".join(self._appliers)
                _report(logging.WARNING, "%s: there is no setting %r: use %s", where, name, known)
            elif value != self._values[name]:
                try:
                    apply(value)
                except ValueError as error:
                    kept = self._values[name]
                    _report(logging.WARNING, "%s: %s keeps its value %s: %s", where, name, kept, error)
                    continue
                self._values[name] = value
                _report(logging.INFO, "%s is now %s: %s", name, value, where)
        if self._traced != before:
            try:
                self.trace_to(*self._traced)
            except Exception as error:  # noqa: BLE001 - a setting must not stop the chain
                _report(logging.WARNING, "%s: tracing stays off: %s", where, error)

    @property
    def _traced(self) -> tuple[str | None, float]:
        return self._values["trace-endpoint"], self._values["trace-ratio"]


def _report(level: int, text: str, *values: object) -> None:
    """Log the outcome of a change at any log level, because the operator looks for it."""
    line = _report.__code__.co_firstlineno
    _log.handle(_log.makeRecord(_log.name, level, __file__, line, text, values, None))


def _split(config: bytes) -> tuple[bytes, Any]:
    """The config without the settings, and the settings."""
    if f'"{MEMBER}"'.encode() not in config:
        return config, {}
    import json

    try:
        whole = json.loads(config)
    except (ValueError, RecursionError) as error:
        # A config in a format of the VM's own may contain the word, too.
        if config.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
            _report(
                logging.WARNING,
                "member %r of the chain's config is ignored, since the config can't be read as JSON: %s",
                MEMBER,
                error,
            )
        return config, {}
    if not isinstance(whole, dict) or MEMBER not in whole:
        return config, {}
    found = whole.pop(MEMBER)
    return json.dumps(whole).encode(), found


def _set_level(value: Any) -> None:
    number = level_number(value) if isinstance(value, str) else value
    if type(number) is not int:
        raise ValueError(f"{value!r} is not a log level: use a name, such as debug")
    logging.getLogger().setLevel(number)


def _set_format(value: Any) -> None:
    check_format(value)
    if not logs.set_format(value):
        raise ValueError(logs.OWN_LOGGING)


def _check_endpoint(value: Any) -> None:
    if value is None:
        return
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        _ = parts.port  # raises ValueError
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and value.split() == [value]  # urlsplit removes line breaks
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{value!r} is not a collector's address, such as http://127.0.0.1:4317")


def _check_ratio(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is not a number from 0 to 1")
