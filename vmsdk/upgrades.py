"""A chain's upgrades: which rules apply to a block.

All nodes of a chain must apply new rules from the same block on. The operator of a node schedules
upgrades in the chain's upgrade file, `upgrade.json`, by height or time:

    {"upgrades": [
        {"name": "fees-v2", "time": "2026-12-01T12:00:00Z"},
        {"name": "burning", "height": 120000}
    ]}

A VM lists the names that it knows in `ChainVM.upgrades`, and calls `Context.upgrades.is_active`.
"""

from __future__ import annotations

import logging
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from vmsdk.block import Block
from vmsdk.database import Database
from vmsdk.errors import InvalidInput, UpgradesRefused, VMError
from vmsdk.timestamp import NANOSECONDS_PER_SECOND, Timestamp

STORED_KEY = b"vmsdk/upgrades"
"""The key in the chain's database of the upgrades at the node's last start."""
MAX_HEIGHT = 2**64 - 1

_FILE = "the chain's upgrade file (upgrade.json)"
_STORED = (
    "the record of this node's last start (in the chain's database, not a file: remove the chain's data and "
    "sync again)"
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NAME_RULE = "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit"
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_MILLISECOND = 1_000_000

_reprs = reprlib.Repr()
_reprs.maxstring = _reprs.maxother = 100
_shown = _reprs.repr


class Activation(NamedTuple):
    """When an upgrade activates: at a height or a time. The other one is None."""

    height: int | None = None
    time: Timestamp | None = None

    def includes(self, height: int, time: Timestamp) -> bool:
        """Whether the upgrade is active in a block of this height and time."""
        if self.height is not None:
            return height >= self.height
        return self.time is not None and time >= self.time

    def __str__(self) -> str:
        return f"at {self.time}" if self.height is None else f"at height {self.height}"


class Declares(Protocol):
    """The attributes of a VM that the upgrades depend on."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def upgrades(self) -> Sequence[str] | None: ...


class Upgrades(Mapping[str, Activation]):
    """The scheduled upgrades by name, in the order of the upgrade file."""

    def __init__(
        self, activations: Mapping[str, Activation] | None = None, *, known: Sequence[str] | None = None
    ) -> None:
        """*known* are the names that the VM's code knows, or None for all names."""
        self._activations = dict(activations or {})
        self.known = known

    @classmethod
    def of(cls, vm: Declares, data: bytes) -> Upgrades:
        """Read the upgrade file *data*, which may be empty. Raises `UpgradesRefused`.

        If `ChainVM.upgrades` is None, the VM reads the file itself, and there are no upgrades here.
        """
        if vm.upgrades is None:
            return cls(known=())
        table = cls(_read(data), known=vm.upgrades)
        for name, activation in table.items():
            if name not in vm.upgrades:
                raise UpgradesRefused(
                    f"{_FILE} schedules {name!r} {activation}, which {vm.name} {vm.version} does not know "
                    f"(it knows {', '.join(map(repr, vm.upgrades)) or 'none'}): update the plugin. Without "
                    "the new rules this node would fork off the network"
                )
        return table

    def is_active(self, name: str, block: Any) -> bool:
        """Whether the upgrade is active in *block*. False if it isn't scheduled.

        *block* is a `vmsdk.Block`, or a `Header` or `Block` of `vmsdk.chain`. Raises `VMError` for
        a name that `ChainVM.upgrades` does not list.
        """
        activation = self._activations.get(name)
        if activation is None:
            if self.known is not None and name not in self.known:
                raise VMError(
                    f"is_active({name!r}): the VM does not list this upgrade. Its class has "
                    f"upgrades = {tuple(self.known)!r}: add the name there"
                )
            return False
        if activation.height is not None:
            return bool(block.height >= activation.height)
        return activation.includes(0, _time_of(block))

    def admit(self, database: Database, block: Block, log: logging.Logger) -> None:
        """Compare the upgrades with those of the last start, and store them for the next one.

        *block* is the last accepted block. Raises `UpgradesRefused` if an activation at or before
        it was added, moved or removed, because the chain was executed under other rules.
        """
        stored = database.get(STORED_KEY)
        before = _read(stored or b"", _STORED)
        height, time = block.height, _time_of(block)
        changed = [name for name in {**before, **self} if before.get(name) != self.get(name)]
        if height or stored is not None:
            for name in changed:
                self._must_be_future(name, before.get(name), self.get(name), height, time)
        for name in changed:
            was = f" (at the last start: {before[name]})" if name in before else ""
            log.info("the upgrade %s activates %s%s", name, _when(self.get(name)), was)
        if changed:
            database.put(STORED_KEY, self.encode())

    @staticmethod
    def _must_be_future(
        name: str, old: Activation | None, new: Activation | None, height: int, time: Timestamp
    ) -> None:
        if old is not None and old.includes(height, time):
            cure = f"restore the activation of {name} {old}"
        elif new is not None and new.includes(height, time):
            cure = (
                f"schedule {name} after that block, on all nodes alike. If all others had it in time, "
                "remove this node's data of the chain and sync again with the file"
            )
        else:
            return
        raise UpgradesRefused(
            f"{_FILE} changes the past. {name} activates {_when(new)}. At this node's last start it was "
            f"{_when(old)}, and the last accepted block has height {height} and time {time}: {cure}"
        )

    def encode(self) -> bytes:
        """An upgrade file with these upgrades, with times in Unix seconds."""
        import json

        entries = [
            {
                "name": name,
                **({"time": when.time.seconds} if when.time is not None else {"height": when.height}),
            }
            for name, when in self.items()
        ]
        return json.dumps({"upgrades": entries}).encode()

    def __getitem__(self, name: str) -> Activation:
        return self._activations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._activations)

    def __len__(self) -> int:
        return len(self._activations)

    def __repr__(self) -> str:
        return f"<Upgrades {', '.join(f'{name} {when}' for name, when in self.items()) or 'none'}>"


def check_names(owner: str, names: object) -> None:
    """Raise `TypeError` unless *names*, the `upgrades` of the class *owner*, are upgrade names."""
    if not isinstance(names, (tuple, list)):
        raise TypeError(f"{owner}.upgrades is {names!r}: make it a tuple of names, such as ('fees-v2',)")
    for index, name in enumerate(names):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise TypeError(f"{owner}.upgrades has {name!r}: a name has {_NAME_RULE}")
        if name in names[:index]:
            raise TypeError(f"{owner}.upgrades has {name!r} twice: remove one")


def _time_of(block: Any) -> Timestamp:
    time = block.timestamp
    if isinstance(time, int) and not isinstance(block, Block):
        return Timestamp.from_unix_ns(time * _MILLISECOND)  # vmsdk.chain's own blocks and headers
    return Timestamp.of(time)


def _when(activation: Activation | None) -> str:
    return "never" if activation is None else str(activation)


# Reading the file ---------------------------------------------------------------------------------


def _read(data: bytes, source: str = _FILE) -> dict[str, Activation]:
    if not data:
        return {}
    import json

    try:
        document = json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise UpgradesRefused(f"{source} is not valid JSON: {error}") from None
    if not isinstance(document, dict) or set(document) != {"upgrades"}:
        raise UpgradesRefused(
            f'{source} must be {{"upgrades": [...]}} without other keys, not {_shown(document)}'
        )
    entries = document["upgrades"]
    if not isinstance(entries, list):
        raise UpgradesRefused(f'{source}: "upgrades" must be an array, not {_shown(entries)}')
    found: dict[str, Activation] = {}
    latest: dict[bool, tuple[str, Activation]] = {}
    for number, entry in enumerate(entries, 1):
        place = f"{source}: upgrade {number}"
        name, activation = _entry(place, entry)
        place += f" ({name})"
        if name in found:
            raise UpgradesRefused(f"{place} is listed twice: remove one")
        kind = activation.height is None
        earlier = latest.get(kind)
        if earlier is not None and activation < earlier[1]:
            raise UpgradesRefused(
                f"{place} activates {activation}, before {earlier[0]} {earlier[1]}: sort the upgrades"
            )
        found[name] = activation
        latest[kind] = name, activation
    return found


def _entry(place: str, entry: object) -> tuple[str, Activation]:
    if not isinstance(entry, dict):
        raise UpgradesRefused(
            f'{place} must be an object with "name", and "height" or "time", not {_shown(entry)}'
        )
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UpgradesRefused(f"{place}: its name must be {_NAME_RULE}, not {_shown(name)}")
    place += f" ({name})"
    unknown = entry.keys() - {"name", "height", "time"}
    if unknown:
        raise UpgradesRefused(
            f'{place} has the unknown key {_shown(min(unknown))}: keep "name", and "height" or "time"'
        )
    if ("height" in entry) == ("time" in entry):
        has = "both" if "time" in entry else "neither"
        raise UpgradesRefused(f'{place} must have "height" or "time", but has {has}: give one of them')
    if "time" in entry:
        return name, Activation(time=_time(place, entry["time"]))
    height = entry["height"]
    if type(height) is not int or not 0 <= height <= MAX_HEIGHT:
        raise UpgradesRefused(
            f"{place}: its height must be a whole number from 0 to 2**64 - 1, not {_shown(height)}"
        )
    return name, Activation(height=height)


def _time(place: str, value: object) -> Timestamp:
    hint = ""
    try:
        if isinstance(value, str) and _UTC.fullmatch(value):
            time = Timestamp.from_datetime(datetime.fromisoformat(f"{value[:-1]}+00:00"))
            if time.seconds >= 0:
                return time
            hint = " (which is before 1970)"
        elif type(value) is int and value >= 0:
            return Timestamp(value)
    except (ValueError, InvalidInput):
        pass
    if type(value) is int and value > 100 * NANOSECONDS_PER_SECOND:
        unit = "nano" if value >= 10**17 else "micro" if value >= 10**14 else "milli"
        hint = f" (which look like {unit}seconds)"
    raise UpgradesRefused(
        f'{place}: its time must be UTC, such as "2026-12-01T12:00:00Z", or Unix seconds, not '
        f"{_shown(value)}{hint}"
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"an object has the key {_shown(key)} twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
