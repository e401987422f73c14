"""`vmsdk.annotations`: what annotations say although some name what isn't imported."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from vmsdk.annotations import own_signature, signature, type_hints

TEXTS = """
class Service:
    def read(self, height: int, page: 'Page', pages: 'list[Page]' = ()) -> 'Page':
        pass
"""
# Python 3.14 evaluates these when it is asked for them, others when the function is defined.
NAMES = TEXTS.replace("'", "")
if sys.version_info < (3, 14):
    NAMES = f"from __future__ import annotations\n{NAMES}"


@pytest.fixture(params=[TEXTS, NAMES], ids=["texts", "names"])
def read(request: pytest.FixtureRequest) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(request.param, namespace)
    method: Callable[..., Any] = namespace["Service"]().read
    return method


def test_an_annotation_that_cannot_be_evaluated_hides_no_other(read: Callable[..., Any]) -> None:
    hints, errors = type_hints(read)
    assert hints == {"height": int}
    assert {name: "name 'Page' is not defined" in error for name, error in errors.items()} == {
        "page": True,
        "pages": True,
        "return": True,
    }


def test_a_signature_needs_no_annotation(read: Callable[..., Any]) -> None:
    assert list(signature(read).parameters) == ["height", "page", "pages"]


def test_a_decorated_function_has_the_annotations_of_its_own(read: Callable[..., Any]) -> None:
    hints, _ = type_hints(functools.cache(read))
    assert hints == {"height": int}


def test_a_functions_own_signature_is_not_what_a_decorator_claims() -> None:
    def given(self: object, data: bytes = b"", *rest: int, key: int = 1) -> None: ...

    assert isinstance(given, FunctionType)

    vars(given)["__signature__"] = inspect.Signature()
    assert str(own_signature(given)) == "(self, data=b'', *rest, key=1)"
