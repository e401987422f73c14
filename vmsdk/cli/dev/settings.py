"""What the command line of `vmsdk dev` asks for, with its files read."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import Self

from vmsdk import target
from vmsdk.errors import VMError
from vmsdk.target import Target

# What no JSON text and no word of a genesis looks like, but every forgotten file does.
_FILE_NAME = re.compile(r"[^\s{}\[\]\"']+\.[A-Za-z]\w{1,5}")


class NoSuchContent(VMError):
    """A genesis, config or upgrade names a file that is not there, or can't be read."""

    def __init__(self, option: str, value: str, reason: str) -> None:
        self.option = option
        self.value = value
        self.reason = reason
        super().__init__(f"--{option} {value}: {reason}")


@dataclass(frozen=True)
class Settings:
    """See the command's help for each."""

    target: Target
    genesis: bytes | None
    """None: the kept chain's, else empty."""
    config: bytes
    upgrade: bytes
    data_dir: Path | None
    reset: bool
    port: int
    protocol: int
    reload: bool
    log_level: str

    @classmethod
    def of(cls, args: argparse.Namespace) -> Self:
        """Raises `TargetError` and `NoSuchContent`."""
        return cls(
            target=target.find(args.target),
            genesis=_content("genesis", args.genesis),
            config=_content("config", args.config) or b"",
            upgrade=_content("upgrade", args.upgrade) or b"",
            data_dir=args.data_dir,
            reset=args.reset,
            port=args.port,
            protocol=args.protocol,
            reload=args.reload,
            log_level=args.log_level,
        )


def _content(option: str, value: str | None) -> bytes | None:
    """The bytes of the file called *value*, else *value* itself in UTF-8."""
    if not value:
        return None if value is None else b""
    try:
        return Path(value).read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        if _FILE_NAME.fullmatch(value) or value.startswith((os.sep, os.curdir + os.sep)):
            raise NoSuchContent(option, value, "there is no such file") from None
        return value.encode()
    except OSError as error:
        if len(value) > 255 or "\n" in value:  # too long for a file's name: a text
            return value.encode()
        raise NoSuchContent(option, value, error.strerror or str(error)) from None
