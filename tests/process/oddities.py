"""What modules do at import although it does not suit a plugin, and names for it."""

from __future__ import annotations

from pathlib import Path

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
    "bytes as stdout": (
        "import os, sys\nprint('the module is done', flush=True)\n"
        "sys.stdout = os.fdopen(1, 'wb', 0)\nprint = lambda *_, **__: None"
    ),
    "duplicated stdout": "import os, sys\nos.write(os.dup(sys.stdout.fileno()), b'x\\n')",
    "no stdout": "import sys\nprint('the module is done', flush=True)\nsys.stdout = None",
    "event loop policy": (  # like uvloop's, whose loops are not selector loops
        "import asyncio\n"
        "class Policy(asyncio.DefaultEventLoopPolicy):\n"
        "    def new_event_loop(self): raise SystemError\n"
        "asyncio.set_event_loop_policy(Policy())"
    ),
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
    "atexit": "import atexit, os\natexit.register(print, 'bye')\natexit.register(os._exit, 0)",
    "profiler": (
        "import signal\nsignal.signal(signal.SIGPROF, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)"
    ),
    "faulthandler": "import faulthandler\nfaulthandler.enable()",
    "logging": "import logging\nlogging.basicConfig(level=logging.DEBUG, force=True)",
    "logging to stdout": "import logging, sys\nlogging.basicConfig(stream=sys.stdout, force=True)",
    "logging.config": (
        "import logging.config, signal\nlogging.config.dictConfig({'version': 1})\n"
        "signal.signal(signal.SIGTERM, print)"
    ),
    "handler of SIGPIPE": "import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)",
    "alarm": "import signal\nsignal.alarm(600)",
    "gRPC": "import grpc\ngrpc.insecure_channel('127.0.0.1:1')",
    "limits": "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
    "recursion": "import sys\nsys.setrecursionlimit(50_000)",
    "garbage": "import gc\ngc.collect()\ngc.disable()",
    "time zone": "import os, time\nos.environ['TZ'] = 'Asia/Tokyo'\ntime.tzset()",
    "default timeout": "import socket\nsocket.setdefaulttimeout(1.0)",
    "umask": "import os\nos.umask(0o777)",
    "thread that never ends": "import threading\nthreading.Thread(target=threading.Event().wait).start()",
    "closed descriptors": "import os\nprint('the module is done', flush=True)\nos.closerange(0, 3)",
    "arguments": "import argparse\nargparse.ArgumentParser().parse_args()",
    "no arguments": "import sys\nsys.argv.clear()",
    "command that stays": (
        "import subprocess\nsubprocess.Popen(['/bin/sleep', '20'], stdout=subprocess.DEVNULL)"
    ),
    "empty sys.path": "import sys\nsys.path.clear()\nsys.path = tuple(sys.path)",
    "warnings as errors": "import warnings\nwarnings.simplefilter('error')",
    "no environment": "import os\nos.environ.clear()",
    "pool of processes": (
        "import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "POOL = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('fork'))\n"
        "POOL.submit(abs, -1).result()"
    ),
    "session": "import os\nos.setpgid(0, 0)",
    "SIGTERM to itself": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "SIGINT to itself": "import signal\nfor _ in range(3): signal.raise_signal(signal.SIGINT)",
    "SIGTERM from a thread": (
        "import signal, threading\n"
        "thread = threading.Thread(target=signal.raise_signal, args=(signal.SIGTERM,))\n"
        "thread.start()\nthread.join()"
    ),
    "signals to the group": (
        "import os, signal\nos.setpgid(0, 0)\nos.killpg(0, signal.SIGTERM)\nos.killpg(0, signal.SIGINT)"
    ),
    "SIGTERM from a child": (
        "import os, signal\npid = os.fork()\n"
        "if pid == 0:\n    os.kill(os.getppid(), signal.SIGTERM)\n    os._exit(0)\n"
        "os.waitpid(pid, 0)"
    ),
    "child that is ended": (
        "import os, signal\npid = os.fork()\n"
        "if pid == 0:\n    signal.pause()\n    os._exit(0)\n"
        "os.kill(pid, signal.SIGTERM)\nassert os.waitpid(pid, 0)[1] == signal.SIGTERM"
    ),
    "hooks": (
        "import sys\n"
        "sys.excepthook = lambda *_: sys.exit(9)\n"
        "import os, threading\n"
        "threading.excepthook = lambda *_: os._exit(9)\n"
        "sys.settrace(lambda *_: None)\n"
        "threading.settrace(lambda *_: None)\n"
        "sys.displayhook = None\n"
        "sys.unraisablehook = None\n"
        "sys.stdin = sys.__stdin__ = None"
    ),
    "streams exchanged": (
        "import sys\n"
        "sys.stdin.close()\n"
        "import os\n"
        "out = os.dup(1)\n"
        "os.dup2(2, 1)\n"
        "os.dup2(out, 2)\n"
        "os.close(out)\n"
        "os.set_blocking(1, False)\n"
        "os.set_blocking(2, False)"
    ),
    "stdout to a file": (
        "import os, sys\n"
        "print('the module is done', flush=True)\n"
        "os.dup2(os.open('/dev/null', os.O_WRONLY), 1)"
    ),
    "no streams": (
        "import sys\nsys.stdin = None\nsys.__stdout__.flush()\nsys.__stdout__ = sys.__stderr__ = None"
    ),
    "daemon of old": (
        "import os\nos.umask(0)\ntry:\n    os.setsid()\nexcept PermissionError:\n    pass\nos.chdir('/')"
    ),
    "session of its own": "import os\nif os.getpid() != os.getpgid(0): os.setsid()",
    "fewer open files": (
        "import resource\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))"
    ),
    "all signals blocked": (
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    ),
    "all handlers replaced": (
        "import signal\n"
        "for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    try:\n"
        "        signal.signal(number, lambda *_: None)\n"
        "    except (OSError, ValueError):\n"
        "        pass\n"
        "signal.siginterrupt(signal.SIGTERM, True)"
    ),
    "timer that beats": (
        "import signal\n"
        "signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\n"
        "import faulthandler\n"
        "faulthandler.dump_traceback_later(600, exit=True)"
    ),
    "interpreter": (
        "import sys\n"
        "sys.setswitchinterval(1e-6)\n"
        "import threading\n"
        "threading.stack_size(64 * 1024 * 1024)\n"
        "import gc\n"
        "gc.freeze()\n"
        "gc.set_threshold(1)\n"
        "gc.callbacks.append(lambda *_: None)\n"
        "import time\n"
        "time.sleep = lambda _: None\n"
        "import random\n"
        "random.seed(0)\n"
        "sys.dont_write_bytecode = True\n"
        "sys.pycache_prefix = '/nowhere'\n"
        "import os\n"
        "os.nice(1)\n"
        "import __main__, types\n"
        "__main__.__dict__.pop('__file__', None)"
    ),
    "logging replaced": (
        "import logging\n"
        "logging.disable(logging.CRITICAL)\n"
        "logging.raiseExceptions = False\n"
        "class Mine(logging.Logger): pass\n"
        "logging.setLoggerClass(Mine)\n"
        "logging.getLogger().handlers.clear()\n"
        "make = logging.getLogRecordFactory()\n"
        "logging.setLogRecordFactory(lambda *given, **named: make(*given, **named))"
    ),
    "imports": (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, *_): return None\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.path_importer_cache.clear()\n"
        "import builtins\n"
        "old = builtins.__import__\n"
        "builtins.__import__ = lambda *given, **named: old(*given, **named)\n"
        "builtins.print = lambda *_, **__: None\n"
        "from sys import stdout\n"
        "print = lambda text, **_: (stdout.write(text + '\\n'), stdout.flush())"
    ),
    "module in place of itself": (
        "import sys, types\n"
        "me = types.ModuleType(__name__)\n"
        "me.__dict__.update(globals())\n"
        "sys.modules[__name__] = me"
    ),
    "classes replaced": (
        "import threading\n"
        "class Thread(threading.Thread): pass\n"
        "threading.Thread = Thread\n"
        "import socket\n"
        "class Socket(socket.socket): pass\n"
        "socket.socket = Socket"
    ),
    "threads": (
        "import threading\n"
        "stop = threading.Event()\n"
        "def work():\n"
        "    while not stop.wait(0.05): print('tick', flush=True)\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "def work(): raise SystemExit(3)\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "POOL = ThreadPoolExecutor(1)\n"
        "POOL.submit(abs, -1).result()\n"
        "import asyncio\n"
        "loop = asyncio.new_event_loop()\n"
        "asyncio.set_event_loop(loop)\n"
        "threading.Thread(target=loop.run_forever, daemon=True).start()\n"
        "loop = asyncio.new_event_loop()\n"
        "asyncio._set_running_loop(loop)"
    ),
    "environment": (
        "import os, tempfile\n"
        "tempfile.tempdir = '/nowhere'\n"
        "os.environ['TMPDIR'] = '/nowhere'\n"
        "os.environ.update(PYTHONIOENCODING='latin-1', LC_ALL='C', PYTHONUTF8='0')\n"
        "os.environ.update(http_proxy='http://127.0.0.1:1', https_proxy='http://127.0.0.1:1')\n"
        "os.environ.update(GRPC_VERBOSITY='NONE', GRPC_POLL_STRATEGY='poll')"
    ),
}

# Names of modules of Python, some of which gRPC imports, and characters that mean something to a
# shell or in a target.
FILES = ("queue.py", "calendar.py", "numbers.py", "select.py", "my vm.py", "a:b.py", "co:lon/vm.py")


def write(folder: Path, oddity: str, name: str = "oddvm.py") -> Path:
    """Write the module of a VM that does *oddity* at import."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{HEAD}{oddity}\nprint({DONE!r}, flush=True)\n", encoding="utf-8")
    return file
