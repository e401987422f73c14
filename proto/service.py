from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar, overload

if TYPE_CHECKING:
    import grpc
    import grpc.aio
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

    @overload
    def on(self, channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable[RequestT, ResponseT]: ...

    @overload
    def on(self, channel: grpc.aio.Channel) -> Callable[..., Awaitable[ResponseT]]: ...

    def on(self, channel: Any) -> Any:
        """Return what calls this method of the server at the other end of *channel*."""
        return channel.unary_unary(
            self.path,
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.response.FromString,
        )

    def handler(self, behaviour: Callable[..., Any]) -> grpc.RpcMethodHandler[RequestT, ResponseT]:
        """Return what serves this method by *behaviour*, which gets the request and the context."""
        import grpc

        return grpc.unary_unary_rpc_method_handler(
            behaviour,
            request_deserializer=self.request.FromString,
            response_serializer=self.response.SerializeToString,
        )

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
