"""A network's record: a file in its directory, which one process changes at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import Self

from vmsdk.network.errors import NetworkBusy, NetworkError, NetworkNotFound

FORMAT = 1
"""The version of the file's format."""
LOCK_TIMEOUT_S = 10.0
"""Other commands take seconds."""

_STATE_FILE = "network.json"
_LOCK_FILE = "lock"
_LOCK_POLL_S = 0.05


class InvalidState(NetworkError):
    """A network's file is damaged, or another version of vmsdk wrote it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} does not describe a network: {reason}; vmsdk network clean removes it")


class _Unlockable(NetworkError):
    """The file system has no locks, or none for this user."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"can't lock {path}: {error.strerror}; "
            "a network needs a directory in which you can write and lock files"
        )


@dataclass
class NodeRecord:
    """One node: what it keeps, and the process that runs it."""

    name: str
    http_port: int = 0
    """Where it listened last, and will listen again; 0 before the first start."""
    staking_port: int = 0
    ports_fixed: bool = False
    """Whether the user chose the ports, so that no others will do."""
    node_id: str = ""
    """Empty before the first start."""
    pid: int | None = None
    """None while the node should not run."""
    started: float = 0.0
    """When the process started, in Unix seconds, to distinguish it from later ones with its ID."""
    plugin: str = ""
    """An executable that runs the first chain's VM on this node only."""
    weight: int = 0
    """Its weight as a validator of every chain; 0 if it isn't a validator."""
    bls_key: str = ""
    """The public key that it validates with, 48 bytes in hex; empty if it doesn't."""


@dataclass
class ChainRecord:
    """One chain. Each has its own subnet, so that one that fails to start can be abandoned."""

    name: str
    """Also the alias in its URLs."""
    chain_id: str
    subnet_id: str
    vm_id: str
    vm_name: str
    target: str
    """What it was created from: the VM's class or file."""
    genesis_hash: str
    """The SHA-256 of its genesis in hex."""


@dataclass
class NetworkRecord:
    """A network."""

    name: str
    binary: str
    """The node's path."""
    version: str
    """What the node prints, such as `avalanchego/1.14.2`."""
    protocol: int
    flags: dict[str, str] = field(default_factory=dict)
    """Additional flags for every node."""
    nodes: list[NodeRecord] = field(default_factory=list)
    chains: list[ChainRecord] = field(default_factory=list)

    def new_node(self, http_port: int | None = None) -> NodeRecord:
        """Add a node under the first free name, on the port and the next one, or on free ports."""
        taken = {node.name for node in self.nodes}
        name = next(name for n in range(1, len(taken) + 2) if (name := f"node{n}") not in taken)
        record = NodeRecord(name)
        if http_port is not None:
            record = NodeRecord(name, http_port, http_port + 1, ports_fixed=True)
        self.nodes.append(record)
        return record

    def node(self, name: str) -> NodeRecord:
        """The node of that name or node ID. Raises `NetworkError` if there is none."""
        for node in self.nodes:
            if name in (node.name, node.node_id):
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise NetworkError(f"the network has no node {name!r}; it has {names or 'none'}")

    def chain(self, name: str) -> ChainRecord:
        """The chain of that name or ID. Raises `NetworkError` if there is none."""
        for chain in self.chains:
            if name in (chain.name, chain.chain_id):
                return chain
        names = ", ".join(chain.name for chain in self.chains)
        raise NetworkError(f"the network has no chain {name!r}; it has {names or 'none'}")

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        nodes = [NodeRecord(**node) for node in content.pop("nodes")]
        chains = [ChainRecord(**chain) for chain in content.pop("chains")]
        return cls(nodes=nodes, chains=chains, **content)


class Store:
    """The directory of one network, and the record in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.path = self.directory / _STATE_FILE
        self.plugin_dir = self.directory / "plugins"
        self.chain_config_dir = self.directory / "chains"
        self.aliases_file = self.directory / "aliases.json"
        self._lock_file = self.directory / _LOCK_FILE
        self._mutex = threading.RLock()
        self._depth = 0
        self._lock: int | None = None

    def node_dir(self, name: str) -> Path:
        """The node's data directory."""
        return self.directory / name

    def load(self) -> NetworkRecord:
        """The record. Raises `NetworkNotFound`, or `InvalidState` if it can't be read."""
        try:
            data = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise NetworkNotFound(self.directory) from None
        try:
            content = json.loads(data)
            if not isinstance(content, dict):
                raise InvalidState(self.path, "it is not a JSON object")
            version = content.pop("format")
            if version != FORMAT:
                raise InvalidState(self.path, f"its format is {version!r}, and this vmsdk knows {FORMAT}")
            if not content["nodes"]:
                raise InvalidState(self.path, "it has no nodes")
            return NetworkRecord.from_json(content)
        except KeyError as error:
            raise InvalidState(self.path, f"it has no {error}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidState(self.path, str(error)) from error

    def create(self, record: NetworkRecord) -> None:
        """Create the directory, if it doesn't exist, and everything that nodes expect in it."""
        for directory in (self.plugin_dir, self.chain_config_dir):
            directory.mkdir(parents=True)
        self.save(record)

    def save(self, record: NetworkRecord) -> None:
        """Replace the record."""
        _replace(self.path, json.dumps({"format": FORMAT, **asdict(record)}, indent=2) + "\n")

    @contextmanager
    def changing(self) -> Iterator[NetworkRecord]:
        """Lock the network, and write the record at the end, even after an exception.

        Raises `NetworkBusy` if another process keeps changing it, `NetworkNotFound` if there is
        none.
        """
        with self.locked():
            record = self.load()
            try:
                yield record
            finally:
                self.save(record)

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes and threads from changing the network. May be nested.

        Raises `NetworkBusy` if another process keeps changing it, `NetworkNotFound` if there is
        none, and `NetworkError` if it can't be locked.
        """
        return self._held(self._acquire)

    def creating(self) -> AbstractContextManager[None]:
        """Like `locked`, before there is a network: makes the directory, if it doesn't exist.

        Raises `NetworkBusy` also if another process removes it meanwhile, `NetworkError` if there
        are other files in it or it can't be locked, and `OSError` if it can't be made.
        """
        return self._held(self._claim)

    @contextmanager
    def _held(self, acquire: Callable[[], int]) -> Iterator[None]:
        with self._mutex:
            if self._depth == 0:
                self._lock = acquire()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._release()

    def write_aliases(self, network: NetworkRecord) -> None:
        """Write the chains' names for a node that is about to start."""
        aliases = {chain.chain_id: [chain.name] for chain in network.chains}
        _replace(self.aliases_file, json.dumps(aliases))

    def write_chain_config(self, chain_id: str, config: bytes | None, upgrade: bytes | None) -> None:
        """Write the chain's configuration and upgrades for the next start; None changes nothing."""
        folder = self.chain_config_dir / chain_id
        for file, content in (("config.json", config), ("upgrade.json", upgrade)):
            if content is not None:
                folder.mkdir(exist_ok=True)
                (folder / file).write_bytes(content)

    def remove_chain_config(self, chain_id: str) -> None:
        shutil.rmtree(self.chain_config_dir / chain_id, ignore_errors=True)

    def remove(self) -> None:
        """Remove the directory and everything in it, and release the lock."""
        # The record goes nearly last, so that an interrupted clean can be repeated, and the lock
        # last, so that a network always has one.
        last = [self.path, self._lock_file]
        with suppress(OSError):
            for path in [*(path for path in self.directory.iterdir() if path not in last), *last]:
                _remove(path)
            # NFS renames a file that is still open instead of removing it.
            self._release()
            self.directory.rmdir()

    def check_free(self) -> None:
        """Raise `NetworkError` if there is anything but a lock in the directory."""
        if set(os.listdir(self.directory)) - {_LOCK_FILE}:
            raise NetworkError(f"{self.directory} can't hold a new network: there are other files in it")

    def _acquire(self) -> int:
        while self.path.exists():
            try:
                lock = self._wait_for(self._open_lock())
            except FileNotFoundError:
                break
            if self._is_current(lock) and self.path.exists():
                return lock
            self._give_up(lock)  # the network was removed; there may be a new one
        raise NetworkNotFound(self.directory)

    def _give_up(self, lock: int) -> None:
        """Release the lock of a removed network. If opening it made the file anew, remove it."""
        with suppress(OSError):
            if self._is_current(lock):
                self._lock_file.unlink()
                self.directory.rmdir()
        os.close(lock)

    def _claim(self) -> int:
        made = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        self.directory.mkdir(parents=True, exist_ok=True)
        was_there = self._lock_file.exists()
        if not was_there:
            self.check_free()  # leaves no lock among other files
        is_open = False
        try:
            lock = self._open_lock()
            is_open = True
            self._wait_for(lock)
        except FileNotFoundError:
            raise NetworkBusy(self.directory) from None
        except _Unlockable:
            with suppress(OSError):
                # Keep another process's lock file, or a third process would lock a new one.
                if is_open and not was_there:
                    self._lock_file.unlink(missing_ok=True)
                for path in made:
                    path.rmdir()
            raise
        # If another start has failed and removed its directory, this lock is useless.
        if self._is_current(lock):
            return lock
        os.close(lock)
        raise NetworkBusy(self.directory)

    def _open_lock(self) -> int:
        try:
            # NFS locks only files that are open for writing, so not the directory.
            return os.open(self._lock_file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _Unlockable(self._lock_file, error) from None

    def _is_current(self, lock: int) -> bool:
        """Whether this is still the file that others lock."""
        try:
            return os.path.samestat(os.fstat(lock), os.stat(self._lock_file))
        except FileNotFoundError:
            return False

    def _wait_for(self, lock: int) -> int:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise NetworkBusy(self.directory) from None
                    time.sleep(_LOCK_POLL_S)
                except OSError as error:
                    raise _Unlockable(self._lock_file, error) from None
                else:
                    return lock
        except BaseException:
            os.close(lock)
            raise

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def networks_dir() -> Path:
    """The default place of networks: `vmsdk/networks` under XDG_DATA_HOME or ~/.local/share."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(base) / "vmsdk" / "networks"


def existing_networks() -> list[Path]:
    """The directories of the networks that are kept there, by name."""
    return sorted(path.parent for path in networks_dir().glob(f"*/{_STATE_FILE}"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    """Write a file in one step, so that a reader finds the old or the new one."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
