"""The errors of vmsdk, by their effect when a VM's method raises them.

* `InvalidBlock`, `NothingToBuild` and `AppError` are ordinary results: one debug line.
* The sentinels `NotFound`, `Closed` and `StateSyncNotImplemented` have their own numbers on the
  wire.
* `Fatal` stops the chain.
* The rest name the input, node or installation at fault, and how to fix it.

Any other exception from a VM's method is a bug in the VM: the node gets an error with its text, the
log gets the traceback once, and the process keeps running.
"""

from __future__ import annotations


class VMError(Exception):
    """The base of every error that vmsdk raises."""

    def __str__(self) -> str:
        # KeyError and friends, which some subclasses also are, would print the repr of their
        # argument.
        return Exception.__str__(self) if len(self.args) != 1 else str(self.args[0])


# Ordinary results ------------------------------------------------------------------------------


class InvalidBlock(VMError):
    """The block breaks a rule. Raised by `parse_block` and `Block.verify`.

    *reason* names the rule and the numbers that broke it. The node does not remember the result: it
    may ask again later, so a block with a time in the near future can become valid.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class NothingToBuild(VMError):
    """There is no block to build now. Raised by `build_block`."""

    def __init__(self, reason: str = "nothing to build") -> None:
        self.reason = reason
        super().__init__(reason)


class Refused(VMError):
    """A client's request is refused. JSON-RPC sends the text to the client."""


class AppError(VMError):
    """An application error between two peers: a signed 32-bit code with a text.

    Raised by `app_request`, it becomes the response to the peer. Passed to `app_request_failed`, it
    describes why this VM's request failed. Positive codes are free for applications. The others are
    listed below; two of them are -1 and differ only in the message.
    """

    TIMED_OUT = -1
    """From this node, as "timed out": no response in time, peer not connected, message not sent."""
    UNDEFINED = 0
    UNEXPECTED = -1
    """From a peer: its handler failed."""
    UNREGISTERED_HANDLER = -2
    NOT_A_VALIDATOR = -3
    THROTTLED = -4

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{message} (application error {code})")


# Sentinels -------------------------------------------------------------------------------------


class NotFound(VMError, KeyError):
    """There is no such key, block, height or state summary."""

    def __init__(self, what: str = "not found") -> None:
        self.what = what
        super().__init__(what)


class Closed(VMError):
    """The database was closed."""

    def __init__(self, what: str = "closed") -> None:
        self.what = what
        super().__init__(what)


class StateSyncNotImplemented(VMError):
    """This VM has no state sync."""

    def __init__(self) -> None:
        super().__init__("vm does not implement StateSyncableVM interface")


# Stopping the chain ------------------------------------------------------------------------------


class Fatal(VMError):
    """Stops this chain. Any method of a VM or a block may raise it.

    The node shuts the chain down and logs *reason*; the process stays until the node ends it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class DatabaseFailed(VMError):
    """An earlier database operation failed; nothing can be read or written until a restart.

    It is unknown what the failed operation left on the disk: to continue could corrupt the chain.
    """

    def __init__(self, first_error: str) -> None:
        self.first_error = first_error
        super().__init__(f"closed to avoid possible corruption, init error: {first_error}")


# Faults of inputs --------------------------------------------------------------------------------


class InvalidInput(VMError, ValueError):
    """A value breaks a rule, or bytes break a rule of the format in which they should be written.

    *rule* is the node's own sentence for the rule if it has one; *detail* has the place and the
    numbers. Raised by `parse_block` or `verify`, it counts as `InvalidBlock`, since a peer may send
    any bytes.
    """

    def __init__(self, rule: str, detail: str = "") -> None:
        self.rule = rule
        self.detail = detail
        super().__init__(f"{rule}: {detail}" if detail else rule)


class InvalidPublicKey(InvalidInput):
    """A BLS public key isn't a point on the curve, or is the point at infinity.

    The text is the node's own, which `Initialize` returns.
    """


class InvalidWarpMessage(InvalidInput):
    """A warp message is not signed as it should be."""


class WeightOverflow(VMError, OverflowError):
    """The weights of a subnet's validators add up to more than 64 bits hold."""

    def __init__(self, total: int) -> None:
        self.total = total
        super().__init__(f"weight overflowed: the validators' weights add up to {total}, more than 2^64 - 1")


class InvalidEncoding(InvalidInput):
    """Bytes break a rule of the codec, or a value does not fit its field."""


# Faults of the installation -----------------------------------------------------------------------


class MissingExtra(VMError, ImportError):
    """A part of vmsdk needs a library that is not installed. The text shows how to install it."""

    def __init__(self, what: str, *, package: str, extra: str) -> None:
        self.what = what
        self.package = package
        self.extra = extra
        super().__init__(f"{what} needs the package {package}: pip install 'vmsdk[{extra}]'")


class NotLoaded(VMError):
    """The code of the VM called *name* can't be imported on the node; its log has the traceback."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"the code of the VM {name} can't be loaded: {reason} (its log has the traceback)")


class UpgradesRefused(VMError):
    """A chain can't start with its upgrade file. The text names the entry, and how to fix it."""


# Faults of the node and of versions --------------------------------------------------------------


class NodeError(VMError):
    """A call to one of the node's services failed.

    *method* is the full gRPC path, *code* the name of the gRPC status, *details* its text.
    """

    def __init__(self, method: str, code: str, details: str) -> None:
        self.method = method
        self.code = code
        self.details = details
        super().__init__(details or f"{method} failed with {code}")


class NodeTooOld(VMError):
    """The node's protocol version lacks the feature."""

    def __init__(self, what: str, *, needs: int, has: int) -> None:
        self.what = what
        self.needs = needs
        self.has = has
        super().__init__(
            f"{what} needs a node of protocol {needs} or newer; this node speaks {has}: upgrade the node"
        )


class RemovedFromProtocol(VMError):
    """The feature exists only in protocol versions older than the node's."""

    def __init__(self, what: str, *, last: int, has: int) -> None:
        self.what = what
        self.last = last
        self.has = has
        super().__init__(
            f"{what} was removed after protocol {last}; this node speaks {has}: do without it on such nodes"
        )


class UnsupportedProtocol(VMError, ValueError):
    """A protocol version that this vmsdk does not speak."""

    def __init__(self, version: object, *, oldest: int, newest: int) -> None:
        self.version = version
        self.oldest = oldest
        self.newest = newest
        super().__init__(
            f"protocol version {version!r} is not supported: this vmsdk speaks {oldest} to {newest}; "
            "give one of these, or install a vmsdk that speaks it"
        )
