"""One way to start: a module's import has the same outcome in dev, on trial and on a node."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vmsdk.cli.dev.launch import Starter
from vmsdk.host.node import Host
from vmsdk.install import install
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.target import find

from .plugin import PATIENCE_S, ROOT, Lines

HEAD = "from examples.timestamp.timestampvm import TimestampVM\n\nclass OddVM(TimestampVM): pass\n\n"

# Each leaves the chain as it is, and a line of this in its log.
DONE = "the module is done"
ODDITIES = {
    "nothing": "",
    "handler of SIGTERM": "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(9))",
    "ignored SIGTERM": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "blocked SIGTERM": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})",
    "faulthandler's SIGTERM": "import faulthandler, signal\nfaulthandler.register(signal.SIGTERM)",
    "wakeup descriptor": (
        "import os, signal\nr, w = os.pipe()\nos.set_blocking(w, False)\nsignal.set_wakeup_fd(w)"
    ),
    "asyncio with signals": (
        "import asyncio, signal\n"
        "async def main():\n"
        "    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)\n"
        "asyncio.run(main())"
    ),
    "reconfigured streams": "import sys\nsys.stdout.reconfigure(encoding='utf-8', line_buffering=True)",
    "bytes to stdout": "import sys\nsys.stdout.buffer.write(b'bytes\\n')\nsys.stdout.buffer.flush()",
    "wrapped stdout": "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)",
    "closed stdout": "import sys\nsys.stdout.close()",
    "duplicated stdout": "import os, sys\nos.write(os.dup(sys.stdout.fileno()), b'x\\n')",
    "no stdout": "import sys\nprint('the module is done', flush=True)\nsys.stdout = None",
    "event loop policy": "import asyncio\nasyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())",
    "warnings": "import warnings\nwarnings.simplefilter('always')\nwarnings.warn('odd')",
    "sys.path": "import sys\nsys.path.insert(0, '/nowhere')\nsys.path.append('')",
    "thread": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
    "fork": "import os\nif os.fork() == 0: os._exit(0)\nos.wait()",
    "fork that comes back": "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)",
    "process": (
        "import multiprocessing\n"
        "child = multiprocessing.get_context('fork').Process(target=print, args=('child',))\n"
        "child.start()\nchild.join()\nassert child.exitcode == 0"
    ),
    "command": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''], check=True)",
    "chdir": "import os, tempfile\nos.chdir(tempfile.mkdtemp())\nos.rmdir(os.getcwd())",
    "locale": "import locale\nlocale.setlocale(locale.LC_ALL, '')",
    "atexit": "import atexit\natexit.register(print, 'bye')",
    "faulthandler": "import faulthandler\nfaulthandler.enable()",
    "logging": "import logging\nlogging.basicConfig(level=logging.DEBUG, force=True)",
    "logging to stdout": "import logging, sys\nlogging.basicConfig(stream=sys.stdout, force=True)",
    "gRPC": "import grpc\ngrpc.insecure_channel('127.0.0.1:1')",
    "limits": "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
    "recursion": "import sys\nsys.setrecursionlimit(50_000)",
    "garbage": "import gc\ngc.collect()\ngc.disable()",
    "time zone": "import os, time\nos.environ['TZ'] = 'Asia/Tokyo'\ntime.tzset()",
    "default timeout": "import socket\nsocket.setdefaulttimeout(1.0)",
    "umask": "import os\nos.umask(0o777)",
    "session": "import os\nos.setpgid(0, 0)",
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Write a VM's module that does this at its import."""

    def make(oddity: str, name: str = "oddvm.py") -> Path:
        file = tmp_path / "source" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{HEAD}{oddity}\nprint({DONE!r}, flush=True)\n", encoding="utf-8")
        return file

    return make


def installed(source: Path | str, tmp_path: Path) -> Path:
    plugins = tmp_path / "plugins"
    plugins.mkdir(exist_ok=True)
    return install(str(source), plugin_dir=plugins)


def lives(command: list[str] | Path) -> str:
    """Run a whole life of the plugin, with one block; returns its log."""
    lines = Lines()
    host = Host(command, protocol=DEFAULT_PROTOCOL, log=lines, handshake_timeout_s=PATIENCE_S)
    with host:
        assert host.chain.version() == "1.0.0"
        assert host.process.send_signal(15)
        assert host.chain.last_accepted.height == 0
    assert host.process.exit_code == 0, lines.text
    assert "Traceback" not in lines.text
    return lines.text


@pytest.mark.parametrize("oddity", ODDITIES.values(), ids=ODDITIES)
def test_a_modules_oddity_has_no_effect_in_dev_on_trial_and_on_a_node(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, oddity: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the example from which the VM is derived
    source = make(oddity)
    starter = Starter(find(str(source)), protocol=DEFAULT_PROTOCOL, log_level="info", reload=False)
    try:
        assert starter.name() == "oddvm"
        in_dev = lives(starter.command)
    finally:
        starter.close()
    on_node = lives(installed(source, tmp_path))
    for log in (in_dev, on_node):
        assert DONE in log


@pytest.mark.parametrize("oddity", ["handler of SIGTERM", "asyncio with signals"])
def test_a_handler_that_the_module_sets_is_replaced_and_reported(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, oddity: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    source = make(ODDITIES["handler of SIGTERM"])
    log = lives(installed(source, tmp_path))
    assert "WARN vmsdk: the VM's code has set a handler for SIGTERM, which vmsdk replaces" in log


@pytest.mark.parametrize("name", ["queue.py", "calendar.py", "numbers.py", "a:b.py", "my vm.py", "select.py"])
def test_a_file_may_be_called_like_a_module_of_python(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    lives(installed(make("", name), tmp_path))


def test_the_nodes_working_directory_means_nothing(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(make("").parent)
    plugin = installed("oddvm", tmp_path)
    elsewhere = tmp_path / "node"
    elsewhere.mkdir()
    for name in ("oddvm", "oddvm.py", "examples", "vmsdk"):
        (elsewhere / name).write_text("raise SystemExit('not this one')\n", encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    lives(plugin)
    for file in elsewhere.iterdir():
        file.unlink()
    elsewhere.rmdir()
    lives(plugin)


def test_a_vm_by_another_user_is_tried_as_that_user(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vmsdk", "install", "x.py", "--plugin-dir", tmp_path, "--as", "nosuchuser"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "there is no user nosuchuser" in done.stderr or "--as needs root" in done.stderr
