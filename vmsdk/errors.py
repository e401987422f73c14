"""The errors of vmsdk, sorted by what they are: answers, sentinels, faults of others, and the end.

* An *answer* (`InvalidBlock`, `NothingToBuild`, `AppError`) is an ordinary result: one debug line.
* A *sentinel* (`NotFound`, `Closed`, `StateSyncNotImplemented`) has a number of its own on the wire.
* `Fatal` is the author's decision to stop the chain.
* The rest say that an input, a node or an installation is at fault, and what cures it.

Any other exception out of a VM's method is a bug in the VM: the node gets an error with its text,
the log gets the traceback once, and the process lives.
"""

from __future__ import annotations


class VMError(Exception):
    """The base of every error that vmsdk raises."""

    def __str__(self) -> str:
        # KeyError and friends, which some subclasses also are, would print the repr of their argument.
        return Exception.__str__(self) if len(self.args) != 1 else str(self.args[0])


# Answers ---------------------------------------------------------------------------------------


class InvalidBlock(VMError):
    """The block is not valid, now or ever. Raised by `parse_block` and `Block.verify`.

    *reason* names the rule that was broken and the numbers that broke it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class NothingToBuild(VMError):
    """There is no block to build at this moment. Raised by `build_block`."""

    def __init__(self, reason: str = "nothing to build") -> None:
        self.reason = reason
        super().__init__(reason)


class AppError(VMError):
    """An application error between two peers: a signed 32-bit code with a text.

    Raised by `app_request`, it becomes the answer to the peer. Given to `app_request_failed`, it says
    why a request of ours failed. Positive codes are free for applications; the others are customary:
    """

    TIMED_OUT = -1
    """From this node to itself: no answer in time, peer not connected, message not sent."""
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
    """What was asked for is not there: a key, a block, a block at a height, a state summary."""

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


# The end ---------------------------------------------------------------------------------------


class Fatal(VMError):
    """Stop this chain. The one exception that app messages, connects and disconnects let through.

    The node shuts the chain down and logs *reason*; the process stays until the node stops it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class DatabaseFailed(VMError):
    """An earlier database operation failed; nothing may be read or written until a restart.

    What the failed operation left on the disk is unknown, so going on could corrupt the chain.
    """

    def __init__(self, first_error: str) -> None:
        self.first_error = first_error
        super().__init__(f"closed to avoid possible corruption, init error: {first_error}")


# Faults of inputs --------------------------------------------------------------------------------


class InvalidHashLength(VMError, ValueError):
    """An ID is not 32 bytes, or a node ID not 20. The text is the node's own."""

    def __init__(self, *, expected: int, actual: int) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(f"invalid hash length: expected {expected} bytes but got {actual}")


class InvalidCB58(VMError, ValueError):
    """A text is not CB58. *rule* is the node's own sentence for the rule that it breaks."""

    def __init__(self, text: str, rule: str) -> None:
        self.text = text
        self.rule = rule
        super().__init__(f"{rule}: {text!r}")


class InvalidVMName(VMError, ValueError):
    """A VM's name is not 1 to 32 ASCII characters."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name!r} cannot name a VM: a name is 1 to 32 ASCII characters; this one has {len(name)}"
        )


class InvalidTimestamp(VMError, ValueError):
    """A time is missing, has no time zone, or lies outside the years 1 to 9999."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"invalid timestamp: {reason}")


class InvalidPublicKey(VMError, ValueError):
    """A BLS public key isn't a point on the curve, or is the point at infinity.

    The text is the node's own, which `Initialize` returns.
    """

    def __init__(self, rule: str) -> None:
        self.rule = rule
        super().__init__(rule)


class InvalidWarpMessage(VMError, ValueError):
    """A warp message is not signed as it should be.

    *rule* is the node's own sentence for the rule that it breaks, *detail* has the numbers.
    """

    def __init__(self, rule: str, detail: str = "") -> None:
        self.rule = rule
        self.detail = detail
        super().__init__(f"{rule}: {detail}" if detail else rule)


class OutOfRange(VMError, ValueError):
    """A number does not fit the field of the protocol that should carry it."""

    def __init__(self, what: str, value: int, *, lowest: int, highest: int) -> None:
        self.what = what
        self.value = value
        self.lowest = lowest
        self.highest = highest
        super().__init__(f"{what} is a number from {lowest} to {highest}; {value} is not")


class WeightOverflow(VMError, OverflowError):
    """The weights of a subnet's validators add up to more than 64 bits hold."""

    def __init__(self, total: int) -> None:
        self.total = total
        super().__init__(f"weight overflowed: the validators' weights add up to {total}, over 2^64 - 1")


class InvalidEncoding(VMError, ValueError):
    """Bytes break a rule of the codec in which they should be written, or a value fits none.

    *rule* is the node's own sentence for the rule, *detail* says where and with which numbers.
    """

    def __init__(self, rule: str, detail: str = "") -> None:
        self.rule = rule
        self.detail = detail
        super().__init__(f"{rule}: {detail}" if detail else rule)


# Faults of the installation ------------------------------------------------------------------------


class MissingExtra(VMError, ImportError):
    """A part of vmsdk was used whose library is not installed. The text says how to install it."""

    def __init__(self, what: str, *, package: str, extra: str) -> None:
        self.what = what
        self.package = package
        self.extra = extra
        super().__init__(f"{what} needs the package {package}: pip install 'vmsdk[{extra}]'")


class NotLoaded(VMError):
    """The code of the VM called *name* can't be imported where the node runs it. The log has the
    traceback.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"the code of the VM {name} can't be loaded: {reason} (its log has the traceback)")


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
    """The node's protocol version lacks what was asked for."""

    def __init__(self, what: str, *, needs: int, has: int) -> None:
        self.what = what
        self.needs = needs
        self.has = has
        super().__init__(
            f"{what} needs a node of protocol {needs} or newer; this node speaks {has}: upgrade the node"
        )


class RemovedFromProtocol(VMError):
    """What was asked for exists only in older protocol versions than the node's."""

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
