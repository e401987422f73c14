"""`vmsdk.http.JSONRPC`: JSON-RPC 2.0, without a server."""

from __future__ import annotations

import asyncio
import enum
import functools
import json
import logging
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal, NewType, TypedDict, TypeVar

import pytest
import typing_extensions
from typing_extensions import Unpack

from tests.wire.rpc.plainvm import PlainVM
from vmsdk import chain
from vmsdk.chain.errors import Invalid
from vmsdk.errors import InvalidBlock, NotFound
from vmsdk.http import JSONRPC, JSONRPCError, jsonrpc
from vmsdk.ids import ID, NodeID

BLOCK = ID(bytes(range(32)))


Height = NewType("Height", int)


class Point(TypedDict):
    x: int


class Amount(int):
    pass


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Chain:
    """A service with one of everything."""

    def __init__(self) -> None:
        self.proposed: list[Any] = []

    def propose_block(self, data: str, tip: int = 0) -> dict[str, Any]:
        self.proposed.append((data, tip))
        return {"data": data, "tip": tip}

    def get_block(self, block_id: ID, full: bool | None = None) -> dict[str, Any]:
        return {"id": block_id, "full": full}

    def last_accepted(self) -> ID:
        return BLOCK

    def subtract(self, minuend: int, subtrahend: int) -> int:
        return minuend - subtrahend

    def missing(self) -> None:
        raise NotFound("no block at height 7")

    def refuse(self) -> None:
        raise JSONRPCError(42, "not today", {"until": "tomorrow"})

    def invalid(self) -> None:
        raise InvalidBlock("the parent is unknown")

    def decline(self) -> None:
        raise Invalid("an entry has 1 to 140 bytes", length=141)

    def crash(self) -> None:
        raise RuntimeError("secret")

    def unprintable(self) -> bytes:
        return b"raw"

    def anything(self, *args: Any, **named: Any) -> list[Any]:
        return [list(args), named]

    def positional(self, first: int, /) -> int:
        return first

    def by_name(self, *, name: str) -> str:
        return name

    def number(self, value: float) -> float:
        return value

    def either(self, value: int | str | None) -> Any:
        return value

    def wrapped(self, transaction: dict[str, Any]) -> dict[str, Any]:
        return transaction

    def sized(self, numbers: list[int], named: Mapping[str, list[float]] | None = None) -> Any:
        return [numbers, named]

    def blocks(self, ids: Sequence[ID]) -> Any:
        return [type(each).__name__ for each in ids]

    def choose(self, colour: Colour, mode: Literal["fast", 1] = 1) -> Any:
        return [colour.name, mode]

    def raw(self, data: bytes | None) -> Any:
        return None if data is None else list(data)

    def height(self, height: Height) -> int:
        return height

    def more(self, *numbers: int, **texts: str) -> Any:
        return [list(numbers), texts]

    def thread(self) -> bool:
        return threading.current_thread() is threading.main_thread()

    async def async_method(self, value: int = 1) -> int:
        await asyncio.sleep(0)
        return value

    @staticmethod
    def static() -> str:
        return "static"

    @property
    def not_a_method(self) -> str:
        raise AssertionError("a property is not a method")

    def _private(self) -> None:
        raise AssertionError("a private method was called")


def response_to(service: JSONRPC, body: bytes | Any) -> Any:
    """The response to *body*, decoded; None if there is none."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = asyncio.run(service.handle(raw))
    return None if found is None else json.loads(found)


def call(method: str, params: Any = None, service: JSONRPC | None = None) -> Any:
    """The result of one call, or its error."""
    request: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method}
    if params is not None:
        request["params"] = params
    found = response_to(service or JSONRPC("chain", Chain()), request)
    assert found["jsonrpc"] == "2.0"
    assert found["id"] == 1
    assert ("result" in found) != ("error" in found)
    return found["result"] if "result" in found else found["error"]


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chain.proposeBlock", "chain.propose_block", "chain.ProposeBlock"])
def test_a_method_goes_by_its_camel_case_its_python_and_its_go_name(name: str) -> None:
    assert call(name, ["x"]) == {"data": "x", "tip": 0}


@pytest.mark.parametrize(
    "name",
    ["chain._private", "chain.Private", "chain.__init__", "chain.notAMethod", "proposeBlock", "", "chain."],
)
def test_only_public_methods_of_the_service_can_be_called(name: str) -> None:
    assert call(name)["code"] == -32601


def test_static_methods_count_and_several_services_live_side_by_side() -> None:
    service = JSONRPC({"a": Chain(), "b": Chain(), "web3_clientVersion": lambda: "vmsdk"})
    assert call("a.static", service=service) == "static"
    assert call("b.lastAccepted", service=service) == str(BLOCK)
    assert call("web3_clientVersion", service=service) == "vmsdk"


def test_a_method_that_is_cached_counts() -> None:
    class Prices:
        @functools.cache  # noqa: B019 - as authors write it
        def of(self, height: int) -> int:
            return height

    service = JSONRPC("prices", Prices())
    assert call("prices.of", [7], service) == 7
    assert call("prices.of", ["7"], service)["code"] == -32602


class Partial:
    def _page(self, kind: str, start: int, limit: int = 2, **more: int) -> Any:
        return [kind, start, limit, more]

    async def _wait(self, kind: str, height: int) -> Any:
        return [kind, height]

    blocks = functools.partialmethod(_page, "block")
    all_blocks = functools.partialmethod(_page, "block", limit=9)
    wait = functools.partialmethod(_wait, "block")


PARTIAL = JSONRPC(
    {
        "chain": Partial(),
        "function": functools.partial(Partial()._page, "f"),
        "twice": functools.partial(functools.partial(Partial()._page, "f"), limit=9),
    }
)


@pytest.mark.parametrize(
    ("method", "params", "result"),
    [
        ("chain.blocks", [1], ["block", 1, 2, {}]),
        ("chain.blocks", {"start": 1, "limit": 3}, ["block", 1, 3, {}]),
        ("chain.allBlocks", [1], ["block", 1, 9, {}]),
        ("chain.wait", [1], ["block", 1]),
        ("function", {"start": 1, "more": 3}, ["f", 1, 2, {"more": 3}]),
        ("twice", {"start": 1}, ["f", 1, 9, {}]),
    ],
)
def test_a_partial_is_served(method: str, params: Any, result: Any) -> None:
    assert call(method, params, PARTIAL) == result


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("chain.blocks", ["one"], "'start' must be an integer, not a string"),
        ("chain.wait", {"height": None}, "'height' must be an integer, not null"),
        ("chain.allBlocks", {"start": 1, "limit": 3}, "unknown parameter 'limit'"),
        ("twice", {"start": 1, "limit": 3}, "unknown parameter 'limit'"),
        ("chain.blocks", {"start": 1, "self": 3}, "unknown parameter 'self'"),
        *((name, {"start": 1, "kind": 3}, "unknown parameter 'kind'") for name in ("chain.blocks", "twice")),
    ],
)
def test_what_a_partial_gives_is_not_for_clients(method: str, params: Any, message: str) -> None:
    error = call(method, params, PARTIAL)
    assert error["code"] == -32602
    assert message in error["message"]


def test_a_class_in_place_of_an_instance_is_refused_with_the_cure() -> None:
    with pytest.raises(TypeError, match="pass an instance"):
        JSONRPC("chain", Chain)


@pytest.mark.parametrize("services", [("chain", PlainVM()), ({"chain": Chain(), "vm": PlainVM()},)])
def test_the_vm_itself_is_refused_with_the_cure(services: Any) -> None:
    with pytest.raises(TypeError, match=r"every client could call its shutdown.*pass an object"):
        JSONRPC(*services)


@pytest.mark.parametrize("service", [object(), "text", {"get": 1}, None, 7, b"x"])
def test_an_object_without_methods_is_refused(service: object) -> None:
    with pytest.raises(TypeError, match="no public methods; pass an object or a function"):
        JSONRPC("chain", service)


def test_a_service_without_a_name_is_refused_with_the_cure() -> None:
    unnamed: Any = Chain()
    with pytest.raises(TypeError, match=r'give its methods a name first: JSONRPC\("name", service\)'):
        JSONRPC(unnamed)


@pytest.mark.parametrize("arguments", [("too many", -1), ("text",), (-1, 7), ("1", "text")])
def test_an_error_takes_a_code_and_then_a_message(arguments: Any) -> None:
    with pytest.raises(TypeError, match="code"):
        JSONRPCError(*(arguments if len(arguments) == 2 else (*arguments, "")))


def test_a_method_that_could_never_do_its_work_is_refused_with_the_cure() -> None:
    class Bare:
        def height() -> int: ...  # type: ignore[empty-body, misc]

    class Lazy:
        def blocks(self) -> Any:
            yield 1

    class AsyncLazy:
        async def blocks(self) -> Any:
            yield 1

    class Helping:
        def apply(self, transfer: Transfer) -> None: ...

    underscore = "; or start its name with an underscore to hide it from clients$"
    for service, cure in (
        (Bare(), r"^chain\.height: .* give it `self`, or other parameters" + underscore),
        (Lazy(), r"^chain\.blocks contains `yield`, .*: return a list" + underscore),
        (AsyncLazy(), r"^chain\.blocks contains `yield`.*" + underscore),
        (Helping(), r"^chain\.apply: the parameter transfer .* convert it in the method" + underscore),
    ):
        with pytest.raises(TypeError, match=cure):
            JSONRPC("chain", service)


def test_two_methods_of_one_wire_name_are_refused() -> None:
    class Twins:
        def get_block(self) -> None: ...
        def getBlock(self) -> None: ...

    with pytest.raises(TypeError, match="both have the name"):
        JSONRPC("chain", Twins())


# Parameters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params", [["x", 2], {"data": "x", "tip": 2}, [{"data": "x", "tip": 2}], {"Data": "x", "TIP": 2}]
)
def test_parameters_come_by_position_by_name_or_as_one_object_in_a_list(params: Any) -> None:
    assert call("chain.proposeBlock", params) == {"data": "x", "tip": 2}


@pytest.mark.parametrize("name", ["block_id", "blockId", "blockID"])
def test_names_of_parameters_match_without_regard_to_case_and_underscores(name: str) -> None:
    assert call("chain.getBlock", {name: str(BLOCK)}) == {"id": str(BLOCK), "full": None}


@pytest.mark.parametrize("params", [None, [], {}, [{}]])
def test_a_method_without_parameters_takes_every_spelling_of_none(params: Any) -> None:
    assert call("chain.lastAccepted", params) == str(BLOCK)


def test_an_object_that_does_not_fit_the_names_is_the_first_parameter() -> None:
    assert call("chain.wrapped", [{"from": 1}]) == {"from": 1}
    assert call("chain.wrapped", [{"transaction": {"from": 1}}]) == {"from": 1}


def test_star_parameters_take_the_rest() -> None:
    assert call("chain.anything", [1, 2]) == [[1, 2], {}]
    assert call("chain.anything", {"x": 1}) == [[], {"x": 1}]


def test_positional_only_and_keyword_only_parameters_are_respected() -> None:
    assert call("chain.positional", [3]) == 3
    assert call("chain.byName", {"name": "n"}) == "n"
    assert "by position" in call("chain.positional", {"first": 3})["message"]
    assert "missing 'name'" in call("chain.byName", ["n"])["message"]


@pytest.mark.parametrize(
    ("method", "params", "complaint"),
    [
        ("proposeBlock", [], "missing 'data'"),
        ("proposeBlock", {"tip": 1}, "missing 'data'"),
        ("proposeBlock", ["x", 1, 2], "3 are too many"),
        ("proposeBlock", {"data": "x", "fee": 1}, "unknown parameter 'fee'"),
        ("proposeBlock", {"data": "x", "DATA": "y"}, "'data' is given twice"),
        ("proposeBlock", [7], "'data' must be a string, not an integer"),
        ("proposeBlock", ["x", "1"], "'tip' must be an integer, not a string"),
        ("proposeBlock", ["x", True], "'tip' must be an integer, not true"),
        ("proposeBlock", ["x", 1.5], "'tip' must be an integer, not a number"),
        ("number", [None], "'value' must be a number, not null"),
        ("either", [[]], "'value' must be an integer or a string or null, not an array"),
        ("wrapped", [[1]], "'transaction' must be an object, not an array"),
        ("getBlock", ["nonsense"], "'block_id' must be the text of an ID, not 'nonsense' (invalid input"),
        ("getBlock", [3], "'block_id' must be the text of an ID"),
        ("lastAccepted", [1], "takes no parameters"),
        ("sized", [[1, "2"]], "'numbers'[1] must be an integer, not a string"),
        ("sized", ["12"], "'numbers' must be an array, not a string"),
        ("sized", [[], {"a": [1, None]}], "'named'['a'][1] must be a number, not null"),
        ("sized", [[], 3], "'named' must be an object or null, not an integer"),
        ("blocks", [[str(BLOCK), "no"]], "'ids'[1] must be the text of an ID, not 'no' (input string is"),
        ("blocks", [[None]], "'ids'[0] must be the text of an ID, not null"),
        ("choose", ["green"], """'colour' must be "red" or "blue", not 'green'"""),
        ("choose", [["red"]], """'colour' must be "red" or "blue", not an array"""),
        ("choose", ["red", True], """'mode' must be "fast" or 1, not true"""),
        ("raw", ["0x1"], "'data' must be bytes in hexadecimal, as in 0x1234"),
        ("raw", [7], "'data' must be bytes in hexadecimal, as in 0x1234 or null, not an integer"),
        ("height", ["1"], "'height' must be an integer, not a string"),
        ("more", [1, "2"], "'numbers'[1] must be an integer, not a string"),
        ("more", {"a": 2}, "'texts'['a'] must be a string, not an integer"),
        ("anything", {"self": 1}, "unknown parameter 'self'"),
    ],
)
def test_wrong_parameters_are_named_with_what_the_method_takes(
    method: str, params: Any, complaint: str
) -> None:
    error = call(f"chain.{method}", params)
    assert error["code"] == -32602
    assert complaint in error["message"]


@pytest.mark.parametrize(
    ("method", "value"), [("number", 1), ("either", None), ("either", "x"), ("either", 3), ("height", 3)]
)
def test_values_of_the_annotated_types_pass(method: str, value: Any) -> None:
    assert call(f"chain.{method}", [value]) == value


@pytest.mark.parametrize(
    ("method", "params", "result"),
    [
        ("sized", [[1, 2], {"a": [1, 0.5]}], [[1, 2], {"a": [1, 0.5]}]),
        ("blocks", [[str(BLOCK)]], ["ID"]),
        ("choose", ["blue", "fast"], ["BLUE", "fast"]),
        ("raw", ["0x00ff"], [0, 255]),
        ("raw", ["00ff"], [0, 255]),
        ("raw", [None], None),
        ("more", [1, 2], [[1, 2], {}]),
        ("more", {"a": "x"}, [[], {"a": "x"}]),
    ],
)
def test_what_is_inside_an_annotation_is_checked_and_converted(method: str, params: Any, result: Any) -> None:
    assert call(f"chain.{method}", params) == result


def converted(annotation: Any, value: Any) -> Any:
    """What a method receives for *value* as its parameter of *annotation*, or the error's text."""
    received: list[Any] = []

    def take(value: Any) -> None:
        received.append(value)

    take.__annotations__["value"] = annotation
    error = call("take", [value], JSONRPC({"take": take}))
    return received[0] if error is None else error["message"]


def check(found: Any, expected: Any) -> None:
    """Check that *found* is *expected* with its type, or is the message that contains it."""
    if isinstance(found, str) and found.startswith("invalid params: "):
        assert expected in found
    else:
        assert found == expected
        assert type(found) is type(expected)


NODE = NodeID(bytes(20))


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (ID | Literal["latest"], str(BLOCK), BLOCK),
        (ID | Literal["latest"], "latest", "latest"),
        (
            ID | Literal["latest"],
            "newest",
            """'value' must be the text of an ID or "latest", not 'newest';""",
        ),
        (ID | str, str(BLOCK), BLOCK),
        (ID | str, "latest", "latest"),
        (NodeID | ID, str(BLOCK), BLOCK),
        (ID | NodeID | None, str(NODE), NODE),
        (ID | None, "no", "must be the text of an ID or null, not 'no' (input string is smaller"),
        (list[ID | Literal["a"]], ["a", str(BLOCK)], ["a", BLOCK]),
        (list[ID | Literal["a"]], ["a", "b"], """'value'[1] must be the text of an ID or "a", not 'b';"""),
        (ID | list[ID], [str(BLOCK)], [BLOCK]),
        (ID | list[ID], ["no"], "'value'[0] must be the text of an ID, not 'no'"),
        (dict[str, ID], {"a": "no"}, "'value'['a'] must be the text of an ID, not 'no'"),
        (dict[str, list[NodeID]], {"a": ["no"]}, "'value'['a'][0] must be the text of a node ID, not 'no'"),
        (ID | Point, "other", "other"),
        (int | str | dict[str, int], "a", "a"),
        (int | str | dict[str, int], {"a": 1}, {"a": 1}),
        (int | str | dict[str, int], {"a": "b"}, "'value'['a'] must be an integer, not a string;"),
        (int | str | dict[str, int], 1.5, "must be an integer or a string or an object, not a number;"),
        (int | float | None, True, "must be an integer or a number or null, not true;"),
        (float | int, 1, 1),
        (Amount | str, 1, Amount(1)),
        (list[int] | tuple[str, ...], ["a"], ("a",)),
        (bytes | int, "0x1", "must be bytes in hexadecimal, as in 0x1234 or an integer, not '0x1';"),
    ],
)
def test_each_member_of_a_union_is_tried(annotation: Any, value: Any, expected: Any) -> None:
    check(converted(annotation, value), expected)


@pytest.mark.parametrize("annotation", [ID | None, ID | Literal["latest"], list[NodeID | ID]])
def test_an_error_of_a_union_does_not_repeat_a_long_text(annotation: Any) -> None:
    long = "2" * 400_000
    message = converted(annotation, [long] if annotation == list[NodeID | ID] else long)
    assert "must be the text of a" in message
    assert len(message) < 1_000


class Mixed(enum.Enum):
    RED = "red"
    TWO = 2
    CRIMSON = "red"  # noqa: PIE796 - an alias


class Share(enum.Enum):
    HALF = 0.5
    WHOLE = 1.0


class Answer(enum.Enum):
    YES = True
    NO = False


class Route(enum.Enum):
    NORTH = [1, 2]  # noqa: RUF012
    SOUTH = {"a": 1}  # noqa: RUF012


class Lenient(enum.Enum):
    RED = "red"

    @classmethod
    def _missing_(cls, value: Any) -> Any:
        return cls[value.upper()] if value != "wrong" else "wrong"


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Bits(enum.Flag):
    HIGH = 4


class Level(enum.IntEnum):
    LOW = 1


class Unit(str, enum.Enum):
    NANO = "n"


Many = enum.Enum("Many", [(f"N{n}", n) for n in range(1_000)])  # type: ignore[misc]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Mixed, "red", Mixed.RED),
        (Mixed, 2, Mixed.TWO),
        (Mixed, 2.0, """must be "red" or 2, not 2.0;"""),
        (Mixed, {}, """must be "red" or 2, not an object;"""),
        (Share, 1, Share.WHOLE),
        (Share, 0.5, Share.HALF),
        (Share, True, "must be 0.5 or 1.0, not true;"),
        (Answer, True, Answer.YES),
        (Answer, 1, "must be true or false, not 1;"),
        (Answer, 0.0, "must be true or false, not 0.0;"),
        (Route, [1, 2], Route.NORTH),
        (Route, {"a": 1}, Route.SOUTH),
        (Route, [2], """must be [1, 2] or {"a": 1}, not an array;"""),
        (Lenient, "red", Lenient.RED),
        (Lenient, "Red", Lenient.RED),
        (Lenient, "blue", """must be "red", not 'blue';"""),
        (Lenient, 5, """must be "red", not 5;"""),
        (Rights, 1, Rights.READ),
        (Rights, 3, Rights.READ | Rights.WRITE),
        (Rights, 0, Rights(0)),
        (Rights, 4, "must be 1 or 2, or a combination, not 4;"),
        (Rights, -1, "must be 1 or 2, or a combination, not -1;"),
        (Rights, True, "must be 1 or 2, or a combination, not true;"),
        (Rights, 1.0, "must be 1 or 2, or a combination, not 1.0;"),
        (Rights, "1", "must be 1 or 2, or a combination, not '1';"),
        (Bits, 4, Bits.HIGH),
        (Bits, 1, "must be 4, or a combination, not 1;"),
        (Level, 1, Level.LOW),
        (Level, True, "must be 1, not true;"),
        (Unit, "n", Unit.NANO),
        (list[Mixed], ["red", "blue"], """'value'[1] must be "red" or 2, not 'blue';"""),
        (Mixed | None, None, None),
        (Mixed | int, 7, 7),
        (Literal[Colour.RED], "red", Colour.RED),
        (Literal[Colour.RED], "blue", """must be "red", not 'blue';"""),
        (Literal[1, True], 1, 1),
        (Literal[1, True], True, True),
        (Literal[1, True], False, "must be 1 or true, not false;"),
        (Literal["a", None], None, None),
        (Literal[tuple(range(21))], 20, 20),
        (Literal[tuple(range(21))], 21, "or 18 or 19 or …, not 21;"),
        (Many, -1, "must be 0 or 1 or 2 or"),
        (Many, -1, "or 18 or 19 or …, not -1;"),
    ],
)
def test_enums_and_literals_admit_their_values(annotation: Any, value: Any, expected: Any) -> None:
    check(converted(annotation, value), expected)


class Symbol(str):
    __slots__ = ()

    def __new__(cls, text: str) -> Any:
        if not text.isupper():
            raise ValueError(text)
        return super().__new__(cls, text)


T = TypeVar("T")
Several = typing_extensions.TypeAliasType("Several", list[T], type_params=(T,))


class Listed(str):
    __slots__ = ()

    def __new__(cls, text: str) -> Any:
        raise Invalid("no such symbol", length=len(text))


class BlockID(ID):
    __slots__ = ()


class Seal(bytes):
    pass


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (NewType("Sum", chain.U64), 1, 1),
        (NewType("Sum", chain.U64), "1", "must be an integer, not a string;"),
        (bytes, "0x12aB", b"\x12\xab"),
        (bytes, "12AB", b"\x12\xab"),
        (bytes, "0x", b""),
        (bytes, "", b""),
        (bytes, "12 34", "must be bytes in hexadecimal, as in 0x1234, not '12 34';"),
        (bytes, "0x12\n", "must be bytes in hexadecimal"),
        (bytes, "0X12", "must be bytes in hexadecimal"),
        (bytes, "0x0x12", "must be bytes in hexadecimal"),
        (bytes, "0x123", "must be bytes in hexadecimal"),
        (list[NewType("Key", chain.Bytes32)], ["0x11"], [b"\x11"]),  # type: ignore[misc]
        (NewType("Older", NewType("Old", Annotated[ID, "x"])), str(BLOCK), BLOCK),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, str], [1, 2], "'value'[1] must be a string, not an integer;"),
        (tuple[int, str], [1], "'value' must be an array of 2, not one of 1;"),
        (tuple[int, str], "ab", "'value' must be an array, not a string;"),
        (tuple[ID, ...], [str(BLOCK)], (BLOCK,)),
        (tuple[ID, ...], [], ()),
        (tuple[ID, ...], [str(BLOCK), 1], "'value'[1] must be the text of an ID, not an integer;"),
        (tuple, [1, "a"], (1, "a")),
        (tuple, {}, "'value' must be an array, not an object;"),
        (tuple[Any, Any], [1, []], (1, [])),
        (typing_extensions.TypeAliasType("Alias", ID), str(BLOCK), BLOCK),
        (list[typing_extensions.TypeAliasType("Alias", ID)], [str(BLOCK)], [BLOCK]),  # type: ignore[misc]
        (typing_extensions.TypeAliasType("Alias", list[ID]) | None, [str(BLOCK)], [BLOCK]),
        (Several[ID], [str(BLOCK)], [BLOCK]),
        (tuple[int, Unpack[tuple[str, ...]]], [1, "a", "b"], (1, "a", "b")),
        (tuple[int, Unpack[tuple[str, ...]]], {}, "'value' must be an array, not an object;"),
        (Iterable[ID], [str(BLOCK)], [BLOCK]),
        (Iterable[ID], "ab", "'value' must be an array, not a string;"),
        (Collection[int], {}, "'value' must be an array, not an object;"),
        (MutableSequence[int], ["a"], "'value'[0] must be an integer, not a string;"),
        (MutableMapping[str, ID], {"a": str(BLOCK)}, {"a": BLOCK}),
        (MutableMapping[str, ID], [], "'value' must be an object, not an array;"),
        (dict[int, ID], {"-7": str(BLOCK)}, {-7: BLOCK}),
        (dict[int, str], {"07": "a"}, "must be an object with an integer for each key, not with '07';"),
        (list[dict[int, str]], [{"x": "a"}], "'value'[0] must be an object with an integer"),
        (Mapping[ID, int], {str(BLOCK): 1}, {BLOCK: 1}),
        (dict[ID, int], {"x": 1}, "must be an object with the text of an ID for each key, not with 'x'"),
        (dict[Level, int], {"1": 2}, {Level.LOW: 2}),
        (dict[Colour, int], {"red": 2}, {Colour.RED: 2}),
        (dict[bytes, int], {"0xaa": 1, "0xAA": 2}, "must be an object without equal keys"),
        (dict[Any, int], {"1": 1}, {"1": 1}),
        (dict[ID | str, int], {str(BLOCK): 1, "all": 2}, {BLOCK: 1, "all": 2}),
        (tuple[()], [], ()),
        (tuple[()], [1], "'value' must be an array of 0, not one of 1;"),
        (list[tuple[str, int]], [["a", 1]], [("a", 1)]),
        (tuple[int, int] | None, None, None),
        (Symbol, "VM", Symbol("VM")),
        (Symbol, "vm", "must be a valid Symbol, not 'vm';"),
        (Symbol, 3, "must be a valid Symbol, not an integer;"),
        (Amount, 3, Amount(3)),
        (Amount, "3", "must be a valid Amount, not a string;"),
        (Amount, True, "must be a valid Amount, not true;"),
        (BlockID, str(BLOCK), BlockID(BLOCK)),
        (Seal, "0x11", Seal(b"\x11")),
        (Listed, "VM", "must be a valid Listed, not 'VM' (no such symbol (length=2));"),
        (Listed | Symbol, "VM", Symbol("VM")),
        (Symbol | None, "vm", "must be a valid Symbol or null, not 'vm';"),
    ],
)
def test_a_value_becomes_one_of_the_annotated_type(annotation: Any, value: Any, expected: Any) -> None:
    check(converted(annotation, value), expected)


def test_annotations_hold_beside_one_that_names_what_is_not_imported() -> None:
    namespace: dict[str, Any] = {"ID": ID}
    exec("def take(block: 'ID') -> 'Page': return block.hex()", namespace)
    assert call("take", [str(BLOCK)], JSONRPC({"take": namespace["take"]})) == BLOCK.hex()


def test_null_is_taken_where_the_default_is_none() -> None:
    def take(block: ID = None, height: int = 0) -> Any:  # type: ignore[assignment] # Python allows it
        return [block, height]

    service = JSONRPC({"take": take})
    assert call("take", [None], service) == [None, 0]
    assert call("take", [str(BLOCK)], service) == [str(BLOCK), 0]
    assert "'height' must be an integer, not null" in call("take", [None, None], service)["message"]


@pytest.mark.parametrize(
    "annotation", [[str], (int, str), {"a": int}, 3, Literal, Final, Final[int], ClassVar[int]], ids=repr
)
def test_an_annotation_that_is_not_a_type_does_not_matter(annotation: Any) -> None:
    def take(value: Any = None) -> Any:
        return value

    take.__annotations__["value"] = annotation
    service = JSONRPC({"take": take})
    assert [call("take", params, service) for params in ([], [None], [["x", 1]])] == [None, None, ["x", 1]]


@pytest.mark.parametrize(
    "bug", [RuntimeError, TypeError, AttributeError, IndexError], ids=lambda bug: bug.__name__
)
def test_a_bug_in_a_type_of_a_parameter_fails_its_call_only(
    caplog: pytest.LogCaptureFixture, bug: type[Exception]
) -> None:
    class Broken(str):
        def __new__(cls, text: str) -> Any:
            raise bug("secret")

    def take(value: Any) -> Any:
        return value

    take.__annotations__["value"] = Broken
    calls = [
        {"jsonrpc": "2.0", "method": "take", "params": ["x"], "id": 1},
        {"jsonrpc": "2.0", "method": "take", "params": ["x"]},
        {"jsonrpc": "2.0", "method": "take", "params": [], "id": 2},
    ]
    broken, missing = response_to(JSONRPC({"take": take}), calls)
    assert (broken["id"], broken["error"]["code"]) == (1, -32603)
    assert "secret" not in broken["error"]["message"]
    assert (missing["id"], missing["error"]["code"]) == (2, -32602)
    assert f"{bug.__name__}: secret" in caplog.text


def test_a_bug_in_an_enum_of_a_parameter_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    assert "internal error" in converted(Lenient, "wrong")
    assert "returned 'wrong' instead of None or a valid member" in caplog.text


@dataclass
class Transfer:
    amount: int


class Pair(enum.Enum):
    ONE = (1,)


class Raw(enum.Enum):
    ONE = b"x"


class Empty(enum.Enum):
    pass


@pytest.mark.parametrize(
    "annotation",
    [
        tuple[int, Transfer],
        tuple[Transfer, ...],
        Pair,
        list[Raw],
        Empty,
        enum.Enum,
        Literal[b"x"],
        set,
        Decimal,
        Transfer,
        Transfer | None,
        list[Transfer],
        Mapping[str, bytearray],
        Iterable[Transfer],
        dict[tuple[int, int], str],
        dict[float, str],
        dict[Transfer, str],
        typing_extensions.TypeAliasType("Alias", Transfer),
        NewType("Sent", Transfer),
    ],
)
def test_a_parameter_that_json_cannot_carry_is_refused(annotation: Any) -> None:
    def submit(transaction: object) -> None: ...

    submit.__annotations__["transaction"] = annotation
    with pytest.raises(TypeError, match=r"submit: the parameter transaction is annotated .*: annotate what"):
        JSONRPC({"submit": submit})


Clock = Callable[[], float]


def timed(height: int, clock: Clock = float, full: bool = False, *more: int) -> Any:
    return [height, clock(), full, more]


def timed_with_rest(clock: Clock | None = None, /, last: int = 0, **rest: int) -> Any:
    return [clock, last, rest]


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        (timed, [1], [1, 0.0, False, []]),
        (timed, {"height": 1, "full": True}, [1, 0.0, True, []]),
        (timed, {"height": 1, "clock": 2}, "unknown parameter 'clock'; api takes height, full"),
        (timed, [1, 2], "2 are too many; api takes height, full"),
        (timed, {"height": 1, "full": 2}, "'full' must be true or false, not an integer"),
        (timed_with_rest, [], [None, 0, {}]),
        (timed_with_rest, {"last": 2, "x": 3}, [None, 2, {"x": 3}]),
        (timed_with_rest, {"clock": 2}, "unknown parameter 'clock'"),
        (timed_with_rest, [2], "1 are too many"),
    ],
)
def test_clients_cannot_set_a_parameter_whose_default_json_cannot_carry(
    method: Any, params: Any, expected: Any
) -> None:
    result = call("api", params, JSONRPC({"api": method}))
    if isinstance(expected, str):
        assert expected in result["message"]
    else:
        assert result == expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason="has no `type` statement")
def test_a_type_alias_that_contains_itself_admits_any_value() -> None:
    names: dict[str, Any] = {}
    exec("type Tree = dict[str, Tree] | list[Tree] | int", names)
    assert converted(names["Tree"], {"a": [1]}) == {"a": [1]}


@pytest.mark.parametrize(
    "annotation",
    [object, Any, Sequence[int], Mapping[str, Any], Point, str | Decimal, chain.Address, "no such"],
)
def test_an_annotation_that_json_may_satisfy_is_taken(annotation: Any) -> None:
    def echo(value: object) -> None: ...

    echo.__annotations__["value"] = annotation
    JSONRPC({"echo": echo})


# Results and errors -------------------------------------------------------------------------------


def test_an_error_of_the_author_keeps_its_code_message_and_data() -> None:
    assert call("chain.refuse") == {"code": 42, "message": "not today", "data": {"until": "tomorrow"}}


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("missing", "no block at height 7"),
        ("invalid", "the parent is unknown"),
        ("decline", "an entry has 1 to 140 bytes (length=141)"),
    ],
)
def test_not_found_and_invalid_block_are_server_errors_with_their_text(
    method: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert call(f"chain.{method}") == {"code": -32000, "message": text}
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_a_bug_is_an_internal_error_without_its_text_and_one_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = call("chain.crash")
    assert error["code"] == -32603
    assert "secret" not in error["message"]
    [record] = [record for record in caplog.records if record.exc_info]
    assert "chain.crash" in record.getMessage()


def test_a_result_that_is_not_json_is_a_bug_with_the_cure(caplog: pytest.LogCaptureFixture) -> None:
    assert call("chain.unprintable")["code"] == -32603
    assert "hex()" in caplog.text


def test_a_decorator_that_does_not_await_its_method_is_a_bug_with_the_cure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def traced(method: Any) -> Any:
        @functools.wraps(method)
        def wrapper(*arguments: Any) -> Any:
            return method(*arguments)

        return wrapper

    assert call("wait", [1], JSONRPC("wait", traced(Chain().async_method)))["code"] == -32603
    assert "a decorator of an `async` method must have an `async` wrapper" in caplog.text


def test_a_result_of_none_is_null() -> None:
    service = JSONRPC({"nothing": lambda: None})
    assert response_to(service, {"jsonrpc": "2.0", "id": 1, "method": "nothing"}) == {
        "jsonrpc": "2.0",
        "result": None,
        "id": 1,
    }


def test_plain_methods_run_in_a_thread_and_async_ones_on_the_loop() -> None:
    assert call("chain.thread") is False
    assert call("chain.asyncMethod", [5]) == 5


class Threaded(str):
    """Notes the threads in which it is made."""

    __slots__ = ()
    threads: ClassVar[set[int]] = set()

    def __new__(cls, text: str) -> Any:
        cls.threads.add(threading.get_ident())
        return super().__new__(cls, text)


@pytest.mark.parametrize("is_batch", [False, True])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_many_parameters_are_converted_in_a_thread(kind: str, is_batch: bool) -> None:
    def plain(texts: list[Threaded]) -> int:
        return len(texts)

    async def on_the_loop(texts: list[Threaded]) -> int:
        return len(texts)

    service = JSONRPC({"plain": plain, "async": on_the_loop})
    request = {"jsonrpc": "2.0", "id": 1, "method": kind, "params": [["x"] * 10_000]}
    Threaded.threads.clear()
    response = response_to(service, [request] if is_batch else request)
    assert (response[0] if is_batch else response)["result"] == 10_000
    assert Threaded.threads
    assert threading.get_ident() not in Threaded.threads


# The envelope -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
        b"\xff\xfe",
        b'{"jsonrpc": "2.0", "id": NaN, "method": "x"}',
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "chain.proposeBlock", "params": ["\\uD800"]}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "chain.anything", "params": {"\\udc00\\ud800": 1}}',
        b'{"jsonrpc":"2.0","id":' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_not_json_is_a_parse_error(body: bytes) -> None:
    found = response_to(JSONRPC("chain", Chain()), body)
    assert (found["error"]["code"], found["id"]) == (-32700, None)


@pytest.mark.parametrize(
    ("request_", "call_id"),
    [
        (1, None),
        ("x", None),
        (None, None),
        ({}, None),
        ({"jsonrpc": "1.0", "id": 5, "method": "chain.static"}, 5),
        ({"id": 5, "method": "chain.static"}, 5),
        ({"jsonrpc": "2.0", "id": 5}, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": 7}, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "chain.static", "params": "x"}, 5),
        ({"jsonrpc": "2.0", "id": {}, "method": "chain.static"}, None),
        ({"jsonrpc": "2.0", "id": True, "method": "chain.static"}, None),
    ],
)
def test_what_is_not_a_request_is_an_invalid_request(request_: Any, call_id: Any) -> None:
    found = response_to(JSONRPC("chain", Chain()), request_)
    assert (found["error"]["code"], found["id"]) == (-32600, call_id)


@pytest.mark.parametrize("call_id", [0, -1, "", "text", None, 1.5])
def test_the_response_has_the_id_of_the_request(call_id: Any) -> None:
    found = response_to(
        JSONRPC("chain", Chain()), {"jsonrpc": "2.0", "id": call_id, "method": "chain.static"}
    )
    assert found["id"] == call_id


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_nesting_over_the_limit_is_refused_and_mere_width_is_not() -> None:
    service = JSONRPC("chain", Chain(), max_depth=10)
    # The request itself is one level.
    assert call("chain.anything", nested(9), service) == [nested(9), {}]
    error = response_to(
        service, {"jsonrpc": "2.0", "id": 1, "method": "chain.anything", "params": nested(10)}
    )["error"]
    assert (error["code"], "nested more than 10 deep" in error["message"]) == (-32600, True)
    wide: list[Any] = [[] for _ in range(100)]
    assert call("chain.anything", wide, service) == [wide, {}]


def test_a_notification_runs_and_gets_no_response() -> None:
    chain = Chain()
    service = JSONRPC("chain", chain)
    assert response_to(service, {"jsonrpc": "2.0", "method": "chain.proposeBlock", "params": ["x"]}) is None
    assert chain.proposed == [("x", 0)]


@pytest.mark.parametrize("method", ["chain.crash", "chain.nowhere", "chain.refuse"])
def test_a_notification_that_fails_gets_no_response(method: str) -> None:
    assert response_to(JSONRPC("chain", Chain()), {"jsonrpc": "2.0", "method": method}) is None


def test_a_notification_with_wrong_parameters_gets_no_response() -> None:
    request = {"jsonrpc": "2.0", "method": "chain.subtract", "params": [1]}
    assert response_to(JSONRPC("chain", Chain()), request) is None


def test_the_responses_of_a_batch_are_in_order_without_its_notifications() -> None:
    chain = Chain()
    found = response_to(
        JSONRPC("chain", chain),
        [
            {"jsonrpc": "2.0", "id": 1, "method": "chain.subtract", "params": [42, 23]},
            {"jsonrpc": "2.0", "method": "chain.proposeBlock", "params": ["x"]},
            {"foo": "boo"},
            {"jsonrpc": "2.0", "id": "2", "method": "chain.asyncMethod", "params": {"value": 3}},
            {"jsonrpc": "2.0", "id": 3, "method": "nowhere"},
        ],
    )
    assert [(each["id"], each.get("result"), each.get("error", {}).get("code")) for each in found] == [
        (1, 19, None),
        (None, None, -32600),
        ("2", 3, None),
        (3, None, -32601),
    ]
    assert chain.proposed == [("x", 0)]


def test_a_batch_of_notifications_gets_no_response() -> None:
    request = [{"jsonrpc": "2.0", "method": "chain.static"}] * 2
    assert response_to(JSONRPC("chain", Chain()), request) is None


def test_an_empty_batch_and_one_too_large_are_one_error() -> None:
    service = JSONRPC("chain", Chain(), max_batch=2)
    one = {"jsonrpc": "2.0", "id": 1, "method": "chain.static"}
    for batch in ([], [one] * 3):
        found = response_to(service, batch)
        assert found["error"]["code"] == -32600
        assert "1 to 2 calls" in found["error"]["message"]
    assert len(response_to(service, [one] * 2)) == 2


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_batch_has_no_more_responses_than_memory_can_hold(kind: str) -> None:
    ran = []

    def plain(text: str = "") -> str:
        ran.append(text)
        return "x" * 10_000_000

    async def on_the_loop() -> str:
        return plain()

    service = JSONRPC({"plain": plain, "async": on_the_loop})
    calls: list[Any] = [{"jsonrpc": "2.0", "id": number, "method": kind} for number in range(6)]
    calls.append({"jsonrpc": "2.0", "method": "plain", "params": ["notification"]})
    responses = response_to(service, calls)
    assert [each["id"] for each in responses] == [0, 1, 2, 3, 4, 5]
    assert ["result" in each for each in responses] == [True, True, True, False, False, False]
    assert {each["error"]["code"] for each in responses[3:]} == {-32003}
    assert ran == ["", "", "", "notification"]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_the_responses_that_refuse_parameters_count_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(height: int) -> None: ...

    async def on_the_loop(height: int) -> None: ...

    monkeypatch.setattr(jsonrpc, "MAX_BATCH_RESPONSE_BYTES", 200)
    service = JSONRPC({"plain": plain, "async": on_the_loop})
    calls = [{"jsonrpc": "2.0", "id": each, "method": kind, "params": ["x"]} for each in range(4)]
    codes = [each["error"]["code"] for each in response_to(service, calls)]
    assert codes == [-32602, -32602, -32003, -32003]


def test_a_batch_of_garbage_gets_an_error_for_each() -> None:
    assert [each["error"]["code"] for each in response_to(JSONRPC("chain", Chain()), [1, 2])] == [-32600] * 2


# HTTP ---------------------------------------------------------------------------------------------


class Client:
    """One request to an ASGI app, and its response."""

    def __init__(
        self,
        method: str = "POST",
        body: list[bytes] | None = None,
        content_type: str | None = "application/json",
    ) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "headers": [] if content_type is None else [(b"content-type", content_type.encode())],
        }
        self.parts = [b""] if body is None else body
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        if not self.parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.parts.pop(0), "more_body": bool(self.parts)}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def ask(self, service: JSONRPC) -> tuple[int, dict[bytes, bytes], bytes]:
        asyncio.run(service(self.scope, self.receive, self.send))
        return self.sent[0]["status"], dict(self.sent[0]["headers"]), self.sent[1]["body"]


STATIC = b'{"jsonrpc":"2.0","id":1,"method":"chain.static"}'


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
def test_a_post_of_json_gets_json(content_type: str) -> None:
    status, headers, body = Client(body=[STATIC[:5], STATIC[5:]], content_type=content_type).ask(
        JSONRPC("chain", Chain())
    )
    assert status == 200
    assert headers[b"content-type"].startswith(b"application/json")
    assert headers[b"content-length"] == b"%d" % len(body)
    assert json.loads(body)["result"] == "static"


def test_a_post_without_a_content_type_is_415_as_any_page_may_send_it() -> None:
    status, _, body = Client(body=[STATIC], content_type=None).ask(JSONRPC("chain", Chain()))
    assert (status, body) == (415, b'send "Content-Type: application/json"; the request says there is none\n')


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_any_method_but_post_is_405(method: str) -> None:
    status, headers, body = Client(method).ask(JSONRPC("chain", Chain()))
    assert (status, headers[b"allow"]) == (405, b"POST")
    assert b"POST" in body


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_content_of_another_type_is_415_and_names_the_right_one(content_type: str) -> None:
    status, _, body = Client(body=[STATIC], content_type=content_type).ask(JSONRPC("chain", Chain()))
    assert status == 415
    assert b"Content-Type: application/json" in body


def test_a_body_over_the_limit_is_413() -> None:
    service = JSONRPC("chain", Chain(), max_body_bytes=10)
    assert Client(body=[b"x" * 6, b"x" * 6, b"never read"]).ask(service)[0] == 413
    assert Client(body=[b"x" * 11]).ask(service)[0] == 413


def test_a_notification_gets_204() -> None:
    body = b'{"jsonrpc":"2.0","method":"chain.static"}'
    assert Client(body=[body]).ask(JSONRPC("chain", Chain()))[::2] == (204, b"")


def test_a_client_that_leaves_before_its_body_ends_gets_nothing() -> None:
    client = Client(body=[])
    asyncio.run(JSONRPC("chain", Chain())(client.scope, client.receive, client.send))
    assert client.sent == []


@pytest.mark.parametrize("field", ['"id": 1e999', '"id": 1, "params": [-1e400]'])
def test_a_number_that_no_float_can_hold_is_a_parse_error(field: str) -> None:
    body = f'{{"jsonrpc": "2.0", "method": "chain.static", {field}}}'.encode()
    response = json.loads(asyncio.run(JSONRPC("chain", Chain()).handle(body)) or b"")
    assert response["error"] == {"code": -32700, "message": "parse error: a number is too large"}
    assert response["id"] is None


def test_an_id_far_longer_than_any_is_refused_unread_and_not_repeated() -> None:
    error = call("chain.getBlock", ["2" * 400_000])
    assert error["code"] == -32602
    assert "400000 characters are too many" in error["message"]
    assert len(error["message"]) < 1_000


def test_a_whole_pair_of_surrogates_is_one_character() -> None:
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "chain.proposeBlock", "params": ["\\uD83D\\ude00"]}'
    assert response_to(JSONRPC("chain", Chain()), body)["result"]["data"] == "\N{GRINNING FACE}"
