"""What a plugin writes arrives whole in the node's log, at the level and in the format that the
operator sets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.node import Host
from vmsdk.protocol import DEFAULT_PROTOCOL

from .plugin import PATIENCE_S, PLUGINS, Lines

COMMAND = [sys.executable, str(PLUGINS / "noisy.py"), str(DEFAULT_PROTOCOL)]


@contextmanager
def noisy(config: object = None, **fields: Any) -> Iterator[tuple[Lines, Callable[[str], None]]]:
    """The plugin's lines, and what makes it noisy."""
    lines = Lines()
    data = b"" if config is None else json.dumps(config).encode()
    with Host(COMMAND, log=lines, config=data, **fields) as host:

        def make(noise: str) -> None:
            with pytest.raises(grpc.RpcError):
                host.client.ParseBlock(pb.ParseBlockRequest(bytes=noise.encode()))

        yield lines, make


def test_an_uncaught_exception_is_one_record_that_begins_with_its_text() -> None:
    with noisy() as (lines, make):
        for noise, first in {
            "thread": "ERROR vmsdk: the thread worker was ended by ValueError: in the thread",
            "task": "ERROR asyncio: Task exception was never retrieved",
            "destructor": "ERROR vmsdk: Exception ignored",
        }.items():
            make(noise)
            line = lines.wait_for(first)
            assert line.startswith("["), line
    stderr = [line for stream, line in lines.all if stream == "stderr"]
    # The traceback follows its record, indented.
    begin = next(number for number, line in enumerate(stderr) if "the thread worker" in line)
    assert stderr[begin + 1] == "    Traceback (most recent call last):"
    end = stderr.index("    ValueError: in the thread")
    assert all(line.startswith("    ") for line in stderr[begin + 1 : end])


def test_the_json_format_is_one_object_a_line_whatever_writes_it() -> None:
    with noisy({"vmsdk": {"log-level": "debug", "log-format": "json"}, "fee": 1}) as (lines, make):
        for noise in ("thread", "task", "destructor", "warning", "levels", "print"):
            make(noise)
        lines.wait_for("in two lines")
        lines.wait_for("in the thread")
    texts = [line for _, line in lines.all]
    # Before Initialize, the plugin doesn't know its config.
    begin = next(number for number, line in enumerate(texts) if '"log-format is now json' in line)
    records = [json.loads(line) for line in texts[begin:]]
    assert all({"level", "timestamp", "logger", "msg"} <= record.keys() for record in records)
    found = {record["msg"].partition("\n")[0]: record for record in records}
    happened = found["häppened \x9b\x7f"]
    assert (happened["level"], happened["height"]) == ("info", 7)
    assert happened["caller"].startswith("plugins/noisy.py:")
    assert found["a detail"]["level"] == "debug"
    assert found["printed"]["logger"] == "stdout"
    assert found["the VM's config: b'{\"fee\": 1}'"]["level"] == "info"
    failed = found["the thread worker was ended by ValueError: in the thread"]
    assert failed["stacktrace"].endswith("ValueError: in the thread")
    assert any("two\nlines" in record["msg"] for record in records)


def test_level_and_format_change_while_the_chain_runs(tmp_path: Path) -> None:
    settings = tmp_path / "vmsdk.json"
    with noisy(chain_data_dir=tmp_path) as (lines, make):
        make("levels")
        settings.write_text('{"log-level": "debug", "log-format": "json"}')
        lines.wait_for("log-format is now json")
        make("levels")
        lines.wait_for("a detail")
        settings.write_text('{"log-level": "loud"}')
        lines.wait_for("log-level keeps its value debug: 'loud' is not a log level: use verbo, debug")
        settings.unlink()
        lines.wait_for("log-level is now 20")
    assert sum("a detail" in line for _, line in lines.all) == 1


def test_a_flood_of_equal_records_is_counted() -> None:
    with noisy() as (lines, make):
        make("flood")
    assert sum("the same" in line for _, line in lines.all) == 11
    lines.wait_for("WARN noisyvm: the same (repeated 990 more times)")


@pytest.mark.parametrize(
    ("config", "warning"),
    [
        ({"vmsdk": {"log-levle": "debug"}}, "there is no setting 'log-levle': use log-level, log-format"),
        ({"vmsdk": {"log-format": "xml"}}, "log-format keeps its value plain: 'xml' is not a log format"),
        ({"vmsdk": {"log-level": 10.5}}, "10.5 is not a log level"),
        ({"vmsdk": "debug"}, "member 'vmsdk' of the chain's config is ignored: it must be an object"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value["vmsdk"]),
)
def test_a_setting_that_is_wrong_is_one_warning_and_the_chain_starts(config: object, warning: str) -> None:
    with noisy(config) as (lines, make):
        assert " WARN vmsdk: " in lines.wait_for(warning)
        make("levels")
    assert sum(" WARN " in line for _, line in lines.all) == 1


def test_a_process_ends_although_python_stops_a_thread_that_writes() -> None:
    code = """
import os, threading
from vmsdk.runtime import logs

def write(descriptor, data):
    if threading.current_thread() is not threading.main_thread():
        writes.set()
        threading.Event().wait()  # the node does not read
    return system_write(descriptor, data)

writes = threading.Event()
system_write, os.write = os.write, write
logs.open_streams()
threading.Thread(target=print, args=("from a thread",), daemon=True).start()
writes.wait()
print("the last words", end="")  # Python writes them at its end
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "the last words", "")
