"""Defects in the life of the process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import GoodVM
from vmsdk._pb.vm import vm_pb2 as pb

SLEEPER = [sys.executable, "-I", "-S", "-c", "import threading; threading.Event().wait(60)"]


class NoNormalOperation(GoodVM):
    """Normal operation needs peers."""

    found_by = "life.reaches-normal-operation"

    def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
        if request.state == pb.STATE_NORMAL_OP:
            raise ValueError("no peers")
        return super().SetState(request)


class ShutdownNeedsInitialize(GoodVM):
    """Shutdown fails if there was no Initialize."""

    found_by = "life.registers"

    def Shutdown(self, request: Empty) -> Empty:
        if self.database is None:
            raise ValueError("not initialized")
        return super().Shutdown(request)


class EndsOnSigterm(GoodVM):
    """It leaves SIGTERM as it is."""

    found_by = "life.ignores-sigterm-before-shutdown"

    def announce(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        super().announce()


class EndsOnCtrlC(GoodVM):
    """It leaves Ctrl-C as it is."""

    found_by = "life.ignores-sigint-before-shutdown"

    def announce(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        super().announce()


class IgnoresSigterm(GoodVM):
    """It ignores SIGTERM forever."""

    found_by = "life.ends-on-sigterm-after-shutdown"

    def announce(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        super().announce()


class ShutdownWaitsForCalls(GoodVM):
    """Shutdown waits until no event is waited for any more."""

    found_by = "life.shuts-down-with-calls-under-way"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.waiting = 0
        self.quiet = threading.Condition()

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        with self.quiet:
            self.waiting += 1
        try:
            return super().WaitForEvent(request, context)
        finally:
            with self.quiet:
                self.waiting -= 1
                self.quiet.notify_all()

    def Shutdown(self, request: Empty) -> Empty:
        with self.quiet:
            self.quiet.wait_for(lambda: not self.waiting)
        return super().Shutdown(request)


class OrphanStays(GoodVM):
    """It does not notice that its node is gone."""

    found_by = "life.ends-with-the-node"

    def announce(self) -> None:
        super().announce()
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if self.shut_down.is_set() else None)
        while True:
            time.sleep(0.2)


class LockFile(GoodVM):
    """It refuses to start if another process has not removed its lock file."""

    found_by = "life.starts-again-after-sigkill"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        self.file = Path(request.chain_data_dir, "LOCK")
        self.file.touch(exist_ok=False)
        return super().Initialize(request)

    def Shutdown(self, request: Empty) -> Empty:
        self.file.unlink(missing_ok=True)
        return super().Shutdown(request)


class EndsOnABadInitialize(GoodVM):
    """It ends when Initialize fails."""

    found_by = "life.survives-a-bad-initialize"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        if len(request.subnet_id) != 32:
            os._exit(1)
        return super().Initialize(request)


class LenientInitialize(GoodVM):
    """It does not look at the IDs that it gets, nor at the addresses."""

    found_by = "life.survives-a-bad-initialize"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        return super().Initialize(request) if request.db_server_addr else pb.InitializeResponse()


class ClosesStdout(GoodVM):
    """It closes stdout, as a daemon does."""

    found_by = "life.keeps-its-streams"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        os.close(1)
        return super().Initialize(request)


class RedirectsStderr(GoodVM):
    """It sends stderr to a file of its own."""

    found_by = "life.keeps-its-streams"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        file = os.open(Path(request.chain_data_dir, "log"), os.O_CREAT | os.O_WRONLY)
        os.dup2(file, 2)
        return super().Initialize(request)


class WritesToItsDirectory(GoodVM):
    """It writes a log file into the working directory, which is the node's."""

    found_by = "life.leaves-no-file"

    def announce(self) -> None:
        Path("vm.log").touch()
        super().announce()


class WritesBesideItself(GoodVM):
    """It writes its process ID into a file beside its program.

    `test_plugin_directory.py` starts it from another directory than this one.
    """

    def announce(self) -> None:
        Path(sys.argv[0]).with_suffix(".pid").touch()
        super().announce()


class NeedsAWritableDirectory(GoodVM):
    """It opens a temporary file in the working directory."""

    found_by = "life.starts-in-a-read-only-directory"

    def announce(self) -> None:
        with tempfile.TemporaryFile(dir="."):
            super().announce()


class NeedsADirectory(GoodVM):
    """It asks for the working directory."""

    found_by = "life.starts-in-a-deleted-directory"

    def announce(self) -> None:
        os.getcwd()
        super().announce()


class LeavesAChild(GoodVM):
    """It starts a process that nobody stops."""

    found_by = "life.leaves-no-child"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return super().Initialize(request)


class LeavesADaemon(GoodVM):
    """It starts a process that leaves its parent and its session."""

    found_by = "life.leaves-no-child"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *SLEEPER],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
        )
        return super().Initialize(request)


class LeavesAChildWhenKilled(GoodVM):
    """It stops its child in Shutdown, which does not come if it is killed."""

    found_by = "life.leaves-no-child-when-killed"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        self.child = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return super().Initialize(request)

    def Shutdown(self, request: Empty) -> Empty:
        self.child.kill()
        self.child.wait()
        return super().Shutdown(request)


class LeavesAForkedChild(GoodVM):
    """It forks a worker that waits for work."""

    found_by = "life.leaves-no-child-when-killed"

    def announce(self) -> None:
        code = f"import os; os.fork(); {SLEEPER[-1]}"
        subprocess.Popen([*SLEEPER[:-1], code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        super().announce()


class HealthIsText(GoodVM):
    """Its health details are a text, not JSON."""

    found_by = "life.health-is-json"

    def Health(self, request: Empty) -> pb.HealthResponse:
        return pb.HealthResponse(details=b"all is well")


class UnhealthyAtFirst(GoodVM):
    """It is unhealthy until it has a block."""

    found_by = "life.health-is-json"

    def Health(self, request: Empty) -> pb.HealthResponse:
        if not self.tip().height:
            raise ValueError("no blocks")
        return super().Health(request)


class HangsAfterShutdown(GoodVM):
    """A call after Shutdown waits for a lock that nobody releases."""

    found_by = "life.calls-after-shutdown-return"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        if self.shut_down.is_set():
            threading.Event().wait()
        return super().GetBlock(request)


class DiesOfItsConfiguration(GoodVM):
    """It ends if it can't read its configuration."""

    found_by = "life.survives-a-bad-configuration"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        try:
            request.config_bytes.decode()
        except UnicodeDecodeError:
            os._exit(1)
        return super().Initialize(request)


class DiesOfItsGenesis(GoodVM):
    """It ends if it can't read its genesis."""

    found_by = "life.survives-a-bad-configuration"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        if b"\0" in request.genesis_bytes:
            os._exit(1)
        return super().Initialize(request)


class LeavesTemporaryFiles(GoodVM):
    """It keeps what it has downloaded in a temporary folder."""

    found_by = "life.leaves-no-temporary-file"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        tempfile.mkdtemp(prefix="vm-")
        return super().Initialize(request)


class FixedPort(GoodVM):
    """It serves its metrics at a port of its own choice."""

    found_by = "life.chains-run-side-by-side"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        # Another process that runs this defect at the same time would take the port.
        port = 20_000 + os.getppid() % 10_000
        self.metrics = socket.create_server(("127.0.0.1", port))
        return super().Initialize(request)


class ShutdownWaitsForItself(GoodVM):
    """A second Shutdown waits for a lock that the first one has taken for good."""

    found_by = "life.calls-after-shutdown-return"

    def Shutdown(self, request: Empty) -> Empty:
        if self.shut_down.is_set():
            threading.Event().wait()
        return super().Shutdown(request)


class RefusesToBuildAfterSigterm(GoodVM):
    """From SIGTERM on it builds no block, since the end must be near."""

    found_by = "life.builds-after-signals"
    is_ending = False

    def announce(self) -> None:
        before = signal.getsignal(signal.SIGTERM)

        def end(number: int, frame: FrameType | None) -> None:
            self.is_ending = True
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, end)
        super().announce()

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        if self.is_ending:
            raise ValueError("the node is stopping")
        return super().BuildBlock(request)


class DiesOfItsUpgrade(GoodVM):
    """It ends if it can't read its upgrades."""

    found_by = "life.survives-a-bad-configuration"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        if request.upgrade_bytes and not request.upgrade_bytes.isascii():
            os._exit(1)
        return super().Initialize(request)


class DiesOfNull(GoodVM):
    """It ends if its configuration is JSON, but no object."""

    found_by = "life.survives-a-bad-configuration"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        try:
            config = json.loads(request.config_bytes or b"{}")
        except ValueError:
            config = {}
        if not isinstance(config, dict):
            os._exit(1)
        return super().Initialize(request)


class HangsWhenGatheredLate(GoodVM):
    """Gather after Shutdown waits for a collector that has ended."""

    found_by = "life.calls-after-shutdown-return"

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name == "Gather" and self.shut_down.is_set():
            threading.Event().wait()
        return super().respond(name, request, context)


class ShutdownHangs(GoodVM):
    """Shutdown waits forever for a thread that does not end."""

    found_by = "life.shuts-down-with-calls-under-way"

    def Shutdown(self, request: Empty) -> Empty:
        super().Shutdown(request)
        threading.Event().wait()
        return Empty()
