"""Faults that tests of `vmsdk doctor` plant in a plugin directory."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from vmsdk.ids import vm_id
from vmsdk.install.launcher import Launcher, with_checksum
from vmsdk.install.plugindirectory import MAX_LAUNCHER_BYTES
from vmsdk.runtime.logrecords import LogFormat
from vmsdk.target import SourceTarget

VM = vm_id("timestampvm")
ROOT = Path(__file__).parents[2]
GOOD = (ROOT / "examples" / "timestamp" / "timestampvm.py").read_text(encoding="utf-8")
SERVED = "import sys\nsys.path[:0] = {paths!r}\n" + GOOD

Plant = Callable[[Path], Path | None]


@dataclass(frozen=True)
class Fault:
    """A fault, and what the doctor must say."""

    name: str
    plant: Plant
    """Plants it in a plugin directory; returns what to examine if that isn't the directory."""
    code: str
    words: tuple[str, ...]
    status: int = 1
    options: tuple[str, ...] = ()
    slow: bool = False
    patience: tuple[tuple[str, float], ...] = ()
    """Time limits of `vmsdk.doctor` to set."""


def launcher(
    plugins: Path,
    source: str = GOOD,
    *,
    name: str = "timestampvm",
    python: str = sys.executable,
    log_format: LogFormat = "plain",
) -> Path:
    """Install the VM *source* as vmsdk does, without trying it."""
    folder = plugins.parent / "source"
    folder.mkdir(exist_ok=True)
    file = folder / "vm.py"
    file.write_text(source, encoding="utf-8")
    target = SourceTarget(str(file), "vm", file, None, folder)
    path = plugins / str(vm_id(name))
    paths = tuple(each for each in sys.path if each)
    made = Launcher(
        name=name,
        target=target,
        python=python,
        path=paths,
        install_command="vmsdk install vm.py",
        log_format=log_format,
    )
    return executable(path, made.to_bytes())


def executable(path: Path, content: bytes | str) -> Path:
    """Write an executable file."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o755)
    return path


def script(plugins: Path, body: str, *, first: str = f"#!{sys.executable}", name: str = str(VM)) -> Path:
    """Write a plugin in plain Python, which finds what this process finds."""
    return executable(
        plugins / name, f"{first}\nimport sys\nsys.path[:0] = {[each for each in sys.path if each]!r}\n{body}"
    )


# A plugin of protocol 45 on bare grpcio, with a hole for each sin.
BARE = """
import os, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
import grpc
from google.protobuf.empty_pb2 import Empty
from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk._pb.vm.runtime.runtime_pb2 import InitializeRequest
from vmsdk._pb.vm.vm_pb2 import VersionResponse

ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))

def handler(function, response=lambda message: message.SerializeToString()):
    return grpc.unary_unary_rpc_method_handler(function, Empty.FromString, response)

def version(request, context):
    return VersionResponse(version="1.0.0")

def shutdown(request, context):
    return Empty()

{before}
server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
methods = {{"Version": handler(version), "Shutdown": handler(shutdown)}}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("vm.VM", methods),))
address = "127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
server.start()

def announce(address, version=45):
    with grpc.insecure_channel(os.environ["AVALANCHE_VM_RUNTIME_ENGINE_ADDR"]) as channel:
        channel.unary_unary(Runtime.Initialize.path, InitializeRequest.SerializeToString, Empty.FromString)(
            InitializeRequest(protocol_version=version, addr=address))

{announce}
while not ended:
    time.sleep(0.02)
"""


def bare(
    plugins: Path, *, before: str = "", announce: str = "announce(address)", name: str = str(VM)
) -> Path:
    return script(plugins, BARE.format(before=before, announce=announce), name=name)


def _broken_link(plugins: Path) -> None:
    (plugins / str(VM)).symlink_to(plugins.parent / "gone")


def _circle(plugins: Path) -> None:
    (plugins / str(VM)).symlink_to(str(VM))


def _directory(plugins: Path) -> None:
    (plugins / str(VM)).mkdir()
    executable(plugins / str(VM) / "vm", "#!/bin/sh\n")


def _not_executable(plugins: Path) -> None:
    launcher(plugins).chmod(0o644)


def _python_source(plugins: Path) -> None:
    path = plugins / f"{VM}.py"
    path.write_text("from vmsdk.chain import Chain\n\n\nclass Notes(Chain): ...\n")
    path.chmod(0o644)


def _renamed(plugins: Path) -> None:
    launcher(plugins).rename(plugins / "timestampvm")


def _mistyped(plugins: Path) -> None:
    launcher(plugins).rename(plugins / (str(VM)[:-1] + "x"))


def _copy(plugins: Path) -> None:
    executable(plugins / f"{VM}-old", launcher(plugins).read_bytes())


def _duplicate(plugins: Path) -> None:
    executable(plugins / f"{VM}.bak", launcher(plugins).read_bytes())


def _stray(plugins: Path) -> None:
    launcher(plugins)
    (plugins / "README.md").write_text("plugins")


def _linked_folder(plugins: Path) -> None:
    (plugins.parent / "old").mkdir()
    (plugins / "old-plugins").symlink_to(plugins.parent / "old")


def _built_in(plugins: Path) -> None:
    executable(plugins / str(vm_id("evm")), "#!/bin/sh\n")


def _moved_venv(plugins: Path) -> None:
    python = plugins.parent / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nowhere/python3.11")
    launcher(plugins, python=str(python))


def _upgraded_python(plugins: Path) -> None:
    environment = plugins.parent / "venv"
    python = environment / "bin" / "python"
    python.parent.mkdir(parents=True)
    (environment / "lib" / "python3.1" / "site-packages").mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    python.symlink_to(os.path.realpath(sys.executable))
    executable(plugins / str(VM), f"#!{python}\nimport vmsdk\n")


def _uv(plugins: Path) -> None:
    cache = plugins.parent / "cache" / "uv"
    python = cache / "archive-v0" / "aBcD" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (cache / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    launcher(plugins, python=str(python))


def _source_moved(plugins: Path) -> None:
    launcher(plugins)
    (plugins.parent / "source" / "vm.py").unlink()


def _writable(plugins: Path) -> None:
    launcher(plugins).chmod(0o777)


def _edited(plugins: Path) -> None:
    path = launcher(plugins)
    executable(path, path.read_bytes().replace(b"# The plugin", b"# Our plugin"))


def _damaged_bundle(plugins: Path) -> None:
    # It starts all the same, as one does that was unpacked before.
    path = launcher(plugins)
    line = b'# vmsdk-bundle {"name": "vm", "target": "vm.py", "protocol": null, "ask_parent": true}'
    executable(path, path.read_bytes().replace(b"\n", b"\n" + line + b"\n", 1))


def _fifo(plugins: Path) -> None:
    os.mkfifo(plugins / str(VM))


def _other_machine(plugins: Path) -> None:
    head = bytearray(Path("/bin/true").read_bytes())
    head[18:20] = (8).to_bytes(2, "little")  # MIPS
    executable(plugins / str(VM), bytes(head))


def _cut(plugins: Path) -> None:
    executable(plugins / str(VM), Path("/bin/true").read_bytes()[:40])


def _musl(plugins: Path) -> None:
    data = Path("/bin/true").read_bytes()
    loader = next(
        each for each in (b"/lib64/ld-linux-x86-64.so.2", b"/lib/ld-linux-aarch64.so.1") if each in data
    )
    executable(
        plugins / str(VM), data.replace(loader, b"/lib/ld-musl-x86_64.so.1".ljust(len(loader), b"\0"), 1)
    )


def _bad_aliases(plugins: Path) -> None:
    file = plugins.parent / "configs" / "vms" / "aliases.json"
    file.parent.mkdir(parents=True)
    file.write_text("{'vm': []}", encoding="utf-8")


def _bundle(plugins: Path) -> None:
    head = b'#!/bin/sh\n# vmsdk-bundle {"name": "timestampvm", "target": "timestampvm.py", "protocol": null, '
    head += b'"ask_parent": true}\n# vmsdk-launcher sha256:\necho "No module named \'numpy\'"\nexit 1\n'
    executable(plugins / "timestamp-plugin", with_checksum(head + bytes(MAX_LAUNCHER_BYTES)))


def _bundle_without_a_module(plugins: Path) -> None:
    _bundle(plugins)
    (plugins / "timestamp-plugin").rename(plugins / str(VM))


def _set_user(plugins: Path) -> None:
    executable(plugins / str(VM), Path("/bin/false").read_bytes()).chmod(0o4755)


def _nested(plugins: Path) -> None:
    (plugins / "release").mkdir()
    executable(plugins / "release" / str(VM), "#!/bin/sh\n")


def _no_directory(plugins: Path) -> Path:
    return plugins.parent / "no" / "plugins"


def _no_plugin(plugins: Path) -> Path:
    return plugins / str(VM)


def _no_plugin_at_all(plugins: Path) -> None:
    """The machine is at fault."""


def _dead_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def file(content: bytes | str) -> Plant:
    """Plant an executable file with *content*."""

    def plant(plugins: Path) -> None:
        executable(plugins / str(VM), content)

    return plant


def _library(plugins: Path) -> None:
    # libc itself is a program, too. Outside of Debian, libraries lie elsewhere.
    patterns = ("lib/*-linux-*/libz.so.1", "lib64/libz.so.1", "lib/libz.so.1")
    found = next((path for each in patterns for path in Path("/usr").glob(each)), None)
    if found is None:
        pytest.skip("there is no libz.so.1")
    executable(plugins / str(VM), found.read_bytes())


def source(text: str) -> Plant:
    """Plant an installed VM with *text* in place of the source."""

    def plant(plugins: Path) -> None:
        launcher(plugins, text)

    return plant


def plain(text: str) -> Plant:
    """Plant a plugin in plain Python."""

    def plant(plugins: Path) -> None:
        script(plugins, text)

    return plant


def own(**holes: str) -> Plant:
    """Plant a plugin on bare grpcio."""

    def plant(plugins: Path) -> None:
        bare(plugins, **holes)

    return plant


FAULTS = [
    # The directory and its names.
    Fault("directory missing", _no_directory, "no-directory", ("does not exist", "mkdir -p")),
    Fault("plugin missing", _no_plugin, "missing", ("there is no such file or", "vmsdk install")),
    Fault("directory missing by its name", lambda p: p / "more", "missing", ("mkdir -p",)),
    Fault("broken link", _broken_link, "broken-link", ("gone", "does not exist")),
    Fault("circle of links", _circle, "broken-link", ("loop",)),
    Fault("directory in place of a file", _directory, "not-a-file", ("directory", "/vm the plugin?")),
    Fault("the VM's name", _renamed, "wrong-name", (str(VM), "mv ", "invalid vmID")),
    Fault("mistyped ID", _mistyped, "wrong-name", ("timestampvm", str(VM))),
    Fault("mistyped ID of another", lambda p: _into(p, str(VM)[:-1]), "wrong-name", ("checksum",)),
    Fault("a name that is not ASCII", lambda p: _into(p, "vm\u00e9"), "wrong-name", ("not a plugin",)),
    Fault("ID in hexadecimal", lambda p: _into(p, VM.hex()), "wrong-name", (f"/{VM}", "mv ", "CB58")),
    Fault(
        "prefix before the ID",
        lambda p: _into(p, f"vm-{VM}"),
        "wrong-name",
        ("something added", "if it is the plugin: mv"),
    ),
    Fault("mistyped 0", lambda p: _into(p, "0" + str(VM)[1:]), "wrong-name", ("character 0",), slow=True),
    Fault("space after the ID", lambda p: _into(p, f"{VM} "), "wrong-name", ("a space", "mv ")),
    Fault("a bundle's own name", _bundle, "wrong-name", ("mv ", str(VM))),
    Fault("plugin in a folder", _nested, "no-plugins", ("folder", "release", "mv "), 0),
    Fault("a copy", _copy, "wrong-name", ("copy", "move it out"), slow=True),
    Fault("a backup of the same VM", _duplicate, "duplicate", ("same VM", f"{VM}.bak")),
    Fault("stray file", _stray, "wrong-name", ("README.md", "not a plugin", "does not start")),
    Fault(
        "link to a folder",
        _linked_folder,
        "wrong-name",
        ("old-plugins", "link to a folder", "does not start"),
    ),
    Fault("a VM of the node", _built_in, "built-in", ("evm", "ignores")),
    # The file.
    Fault("not executable", _not_executable, "not-executable", ("not executable", "chmod a+rx")),
    Fault("Python source", _python_source, "not-executable", ("Python source", "vmsdk install")),
    Fault("empty", file(""), "empty", ("is empty",)),
    Fault("pipe", _fifo, "not-a-file", ("not a file",)),
    Fault("no #! line", file("import vmsdk\n"), "no-shebang", ("#!", "vmsdk install")),
    Fault(
        "interpreter missing",
        file("#!/opt/none/bin/python3\n"),
        "no-interpreter",
        ("/opt/none/bin/python3", "does not exist"),
    ),
    Fault("interpreter is a folder", file("#!/tmp\n"), "no-interpreter", ("is not a file",)),
    Fault(
        "line ends of Windows", file("#!/bin/sh\r\nexit 0\r\n"), "line-endings", ("carriage return", "sed -i")
    ),
    Fault("line ends of Windows, and env", file("#!/usr/bin/env sh\r\n"), "line-endings", ("carriage",)),
    Fault("line ends of Windows below", file("#!/bin/sh\n:\r\nexit 1\r\n"), "line-endings", ("shell",)),
    Fault("runs as its owner", _set_user, "setuid", ("its file's owner", "chmod ug-s")),
    Fault("UTF-16", file("#!/bin/sh\n".encode("utf-16")), "format", ("UTF-16",)),
    Fault("byte order mark", file("\ufeff#!/bin/sh\n"), "format", ("byte order mark",)),
    Fault(
        "env without the command", file("#!/usr/bin/env python9.9\n"), "interpreter", ("python9.9", "PATH")
    ),
    Fault("env with arguments", file("#!/usr/bin/env sh -e\n"), "interpreter", ("sh -e", "env -S")),
    Fault("another machine", _other_machine, "architecture", ("machine 8", "build it for")),
    Fault("cut short", _cut, "format", ("cut short",)),
    Fault("another libc", _musl, "no-interpreter", ("ld-musl", "does not exist")),
    Fault("archive", file(b"\x1f\x8b\x08" + bytes(80)), "format", ("gzip archive", "unpack")),
    Fault("failed download", file("<!DOCTYPE html><title>404</title>"), "format", ("web page",)),
    Fault("writable for everyone", _writable, "world-writable", ("every user", "chmod o-w"), 0, slow=True),
    Fault("edited launcher", _edited, "changed", ("edited",), 0, slow=True),
    Fault("damaged bundle", _damaged_bundle, "changed", ("was unpacked here", "SHA-256"), 0, slow=True),
    # Python and the VM's source.
    Fault(
        "environment's Python gone", _moved_venv, "no-interpreter", ("symbolic link", "/nowhere/python3.11")
    ),
    Fault(
        "environment's Python upgraded",
        _upgraded_python,
        "upgraded-python",
        ("are for python3.1, and", "upgraded to 3.", "venv --clear"),
    ),
    Fault("Python in uv's cache", _uv, "cached-interpreter", ("uv's cache", "deleted")),
    Fault("source moved", _source_moved, "no-source", ("vm.py", "does not exist")),
    Fault(
        "missing dependency",
        source("import nosuchmodule\n"),
        "missing-module",
        ("nosuchmodule", "pip install nosuchmodule", "vm.py:1"),
    ),
    Fault(
        "missing name",
        source("from json import nothing\n"),
        "import-error",
        ("cannot import name", "vm.py:1"),
        slow=True,
    ),
    Fault("zero byte", source("import vmsdk\n\0"), "syntax-error", ("null bytes", "source/vm.py"), slow=True),
    Fault("syntax error", source("def f(:\n    pass\n"), "syntax-error", ("SyntaxError", "vm.py:1")),
    Fault(
        "missing folder",
        source("import os\nos.chdir('/opt/none')\n"),
        "missing-file",
        ("it needs /opt/none,", "vm.py:2"),
        slow=True,
    ),
    Fault(
        "methods missing",
        source("import vmsdk\nclass Half(vmsdk.ChainVM):\n    version = '1'\n"),
        "not-a-vm",
        ("the class Half lacks build_block", "write these methods"),
        slow=True,
    ),
    Fault(
        "serves in a thread",
        plain(
            "import threading\nimport vmsdk\nfrom examples.timestamp.timestampvm import TimestampVM\n"
            "thread = threading.Thread(target=vmsdk.serve, args=(TimestampVM(),))\n"
            "thread.start()\nthread.join()\n"
        ),
        "thread",
        ("only the main thread may",),
        slow=True,
    ),
    Fault("asks for input", source("input()\n"), "stdin", ("no terminal", "vm.py:1"), slow=True),
    Fault("breakpoint", source("breakpoint()\n1\n"), "debugger", ("breakpoint()", "vm.py:2"), slow=True),
    Fault("error at import", source("\n1 / 0\n"), "exception", ("ZeroDivisionError", "vm.py:2")),
    Fault(
        "no VM in the source",
        source("x = 1\n"),
        "not-a-vm",
        ("no class derived from vmsdk.ChainVM",),
        slow=True,
    ),
    Fault(
        "exit at import",
        source("import sys\nsys.exit(3)\n"),
        "exception",
        ("SystemExit: 3", "vm.py:2"),
        slow=True,
    ),
    Fault("needs HOME", plain("import os\nos.environ['HOME']\n"), "environment", ("HOME", "a node gives")),
    Fault(
        "relative path",
        plain("open('data/genesis.json')\n"),
        "missing-file",
        ("data/genesis.json", "working directory"),
    ),
    Fault(
        "no vmsdk",
        file(f"#!{sys.executable} -IS\nimport vmsdk\n"),
        "no-vmsdk",
        ("no module vmsdk", "pip install --upgrade vmsdk"),
    ),
    Fault(
        "PYTHONHOME",
        file(f"#!/bin/sh\nPYTHONHOME=/nowhere exec {shlex.quote(sys.executable)} -c pass\n"),
        "interpreter",
        ("standard library", "PYTHONHOME"),
    ),
    Fault("a bundle lacks a module", _bundle_without_a_module, "missing-module", ("numpy", "--with PACKAGE")),
    Fault("a key is missing", source("{}['BTC']\n"), "exception", ("KeyError: 'BTC'", "vm.py:1"), slow=True),
    Fault("script without permission", file("#!/bin/sh\nexec /etc/passwd\n"), "command", ("/etc/passwd",)),
    # The start.
    Fault("ends at once", plain("print('bye')\n"), "exits", ("exit status 0", "vmsdk.serve", "bye")),
    Fault(
        "ends with an error",
        file("#!/bin/sh\necho broken >&2\nexit 4\n"),
        "exits",
        ("exit status 4", "broken"),
    ),
    Fault(
        "crash",
        plain("import faulthandler\nfaulthandler.enable()\nfaulthandler._sigsegv()\n"),
        "crash",
        ("SIGSEGV", "line 6"),
    ),
    Fault("crash in its child", file("#!/bin/sh\nsh -c 'kill -SEGV $$'\nexit $?\n"), "exits", ("SIGSEGV",)),
    Fault("a shared library", _library, "crash", ("SIGSEGV", "build a program")),
    Fault(
        "writes to nobody", file("#!/bin/sh\nkill -PIPE $$\n"), "crash", ("SIGPIPE", "is closed"), slow=True
    ),
    Fault("killed", file("#!/bin/sh\nkill -9 $$\n"), "crash", ("SIGKILL", "memory")),
    Fault(
        "disk full",
        plain("raise OSError(28, 'No space left on device')\n"),
        "disk-full",
        ("disk is full", "df -h"),
    ),
    Fault(
        "no threads",
        plain('raise RuntimeError("can\'t start new thread")\n'),
        "thread-limit",
        ("LimitNPROC",),
    ),
    Fault(
        "few files",
        lambda p: _into(p, str(VM)),
        "too-many-files",
        ("LimitNOFILE",),
        options=("--limit", "nofile=12"),
        slow=True,
    ),
    Fault("umask 777", _no_plugin_at_all, "umask", ("its sockets", "UMask="), 0, options=("--umask", "777")),
    Fault("no stack", _no_plugin_at_all, "memory", ("64 KiB of stack",), options=("--limit", "stack=65536")),
    Fault("no files", _no_plugin_at_all, "file-size", ("0 KiB in a file",), options=("--limit", "fsize=0")),
    Fault(
        "address refused",
        own(announce="announce('127.0.0.1:1')"),
        "address-refused",
        ("nothing listens", "127.0.0.1:1"),
    ),
    Fault(
        "not an address",
        own(announce="announce('here')"),
        "address-refused",
        ("nothing listens", "here"),
        slow=True,
    ),
    Fault(
        "announced with a scheme",
        own(announce="announce('http://' + address)"),
        "address-refused",
        ("http://127.0.0.1:", "announce 127.0.0.1:", "no scheme"),
        slow=True,
    ),
    Fault(
        "announced before it listens",
        own(
            before="import socket",
            # It stays bound, so that nobody else gets the port.
            announce="s = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
            "s.bind(('127.0.0.1', 0))\nlate = '127.0.0.1:%d' % s.getsockname()[1]\n"
            "announce(late)\nserver = grpc.server(ThreadPoolExecutor(2))\n"
            "service = grpc.method_handlers_generic_handler('vm.VM', methods)\n"
            "server.add_generic_rpc_handlers((service,))\nserver.add_insecure_port(late)\nserver.start()",
        ),
        "announced-early",
        ("before it listens",),
        patience=(("start._LATE_S", 60.0),),
    ),
    Fault(
        "announced twice",
        own(announce="announce(address)\nannounce(address)"),
        "handshake-twice",
        ("more than once",),
        0,
        slow=True,
        patience=(("announcement._QUIET_S", 60.0),),
    ),
    Fault(
        "Version fails",
        own(before="def version(request, context):\n    raise ValueError('odd')"),
        "not-loaded",
        ("odd",),
        slow=True,
    ),
    Fault(
        "Version fails after a harmless error",
        own(
            before="print('port 9100: Address already in use; metrics are off', flush=True)\n"
            "def version(request, context):\n"
            "    context.abort(grpc.StatusCode.UNKNOWN, \"No module named 'nosuchmodule'\")"
        ),
        "missing-module",
        ("pip install nosuchmodule", "metrics are off"),
        slow=True,
    ),
    Fault(
        "crash in Version",
        own(before="def version(request, context):\n    import ctypes; ctypes.string_at(0)"),
        "crash",
        ("SIGSEGV", "during Version"),
    ),
    Fault(
        "Shutdown fails",
        own(before="def shutdown(request, context):\n    raise ValueError('odd')"),
        "shutdown",
        ("odd",),
        slow=True,
    ),
    Fault(
        "leaves a process",
        own(before="import subprocess\nsubprocess.Popen(['/bin/sleep', '600'], stdout=-3, stderr=-3)"),
        "left-processes",
        ("sleep 600",),
        0,
        slow=True,
    ),
    Fault(
        "closes stdout",
        own(announce="os.dup2(os.open('/dev/null', os.O_WRONLY), 1)\nannounce(address)"),
        "closed-stream",
        ("stdout",),
    ),
    Fault(
        "every interface",
        own(announce="announce('0.0.0.0' + address[9:])"),
        "address",
        ("other machines",),
        0,
        slow=True,
    ),
    Fault(
        "ends after the handshake",
        # It doesn't listen any more: the doctor's next call may be faster than the end.
        own(announce="server.stop(0).wait()\nannounce(address)\nos._exit(0)"),
        "exits",
        ("after the handshake",),
        slow=True,
        patience=(("start._LATE_S", 60.0),),
    ),
    Fault(
        "unknown protocol",
        own(announce="announce(address, 99)"),
        "protocol",
        ("protocol 99", "35 to"),
        slow=True,
    ),
    Fault("bad aliases", _bad_aliases, "aliases", ("aliases.json", "can't be read")),
    Fault(
        "proxy of its own",
        file("#!/bin/sh\nexport http_proxy=http://10.0.0.1:3128\nexit 1\n"),
        "proxy",
        ("no_proxy=127.0.0.1",),
    ),
    # What takes its time.
    Fault(
        "never shakes hands",
        plain("import time\nprint('waiting', flush=True)\ntime.sleep(600)\n"),
        "no-handshake",
        ("announce", "line 6"),
        slow=True,
        # What prints the stack is the second start.
        patience=(("trial.Trial.patience_s", 0.5), ("trial.SLOW_S", 8.0)),
    ),
    Fault(
        "can't be aborted",
        file("#!/bin/sh\ntrap '' ABRT\nwhile :; do /bin/sleep 1; done\n"),
        "no-handshake",
        ("announce",),
        slow=True,
        patience=(("trial.Trial.patience_s", 0.5),),
    ),
    Fault(
        "shakes hands late",
        own(before="time.sleep(1.1)"),
        "slow-start",
        ("waits for 1 s",),
        slow=True,
        patience=(("start.SLOW_S", 0.5), ("start.HANDSHAKE_TIMEOUT_S", 1.0)),
    ),
    Fault(
        "ignores SIGTERM",
        own(before="signal.signal(signal.SIGTERM, signal.SIG_IGN)"),
        "ignores-sigterm",
        ("SIGTERM", "kills"),
        slow=True,
        patience=(("trial.Trial.stop_timeout_s", 0.5),),
    ),
    Fault(
        "a bundle's first start",
        _damaged_bundle,
        "slow-start",
        ("has unpacked itself", f"{VM} --version"),
        0,
        slow=True,
        patience=(("start.SLOW_S", 0.0),),
    ),
    Fault(
        "slow import",
        source(f"{GOOD}\nimport time\ntime.sleep(6)\n"),
        "slow-import",
        ("code outside of imports",),
        0,
        slow=True,
        patience=(("start.HANDSHAKE_TIMEOUT_S", 5.0), ("trial.SLOW_S", 0.5)),
    ),
    Fault(
        "hangs in Version",
        own(before="def version(request, context):\n    time.sleep(600)"),
        "no-response",
        ("Version", "hangs"),
        slow=True,
        patience=(("trial.Trial.version_timeout_s", 3.0),),
    ),
]


def _into(plugins: Path, name: str) -> None:
    """A good plugin that vmsdk did not install, under *name*."""
    bare(plugins).rename(plugins / name)


def quoted(path: Path) -> str:
    return shlex.quote(str(path))
