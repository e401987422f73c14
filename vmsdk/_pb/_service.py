# Made by proto/generate.py from proto/service.py: edit that instead.
from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

RequestT = TypeVar("RequestT", bound="Message")
ResponseT = TypeVar("ResponseT", bound="Message")


class Method(Generic[RequestT, ResponseT]):
    """A unary method: what a client or a server needs to call or serve it."""

    __slots__ = ("path", "request", "response")

    def __init__(self, path: str, request: type[RequestT], response: type[ResponseT]) -> None:
        self.path: Final = path
        """The HTTP/2 path, ``/vm.VM/Initialize``."""
        self.request: Final = request
        """The class of the request."""
        self.response: Final = response
        """The class of the response."""

    def __repr__(self) -> str:
        return f"<Method {self.path}>"


class Service:
    """The methods of a service, each as an attribute. Subclasses are generated and never
    instantiated.
    """

    full_name: ClassVar[str]
    """The name on the wire, ``vm.VM``."""
    methods: ClassVar[Mapping[str, Method[Any, Any]]]
    """The methods by name, in the order of the ``.proto`` file."""

    def __init_subclass__(cls) -> None:
        methods = {name: value for name, value in vars(cls).items() if isinstance(value, Method)}
        cls.methods = MappingProxyType(methods)
