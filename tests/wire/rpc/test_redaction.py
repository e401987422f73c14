"""What the node and peers get of an error has no paths of this machine's files."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.errors import AppError, InvalidBlock

from .conftest import Serve
from .plainvm import PlainVM

SECRET = "/usr/lib/secret-place/signer.key"
NODE = bytes(20)


def fails(*arguments: object) -> NoReturn:
    raise FileNotFoundError(2, "No such file or directory", SECRET)


def details(call: Any, request: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return str(caught.value.details())


@pytest.mark.parametrize(
    ("method", "call", "request_"),
    [
        ("set_preference", "SetPreference", pb.SetPreferenceRequest(id=bytes(32))),
        ("parse_block", "ParseBlock", pb.ParseBlockRequest(bytes=b"x")),
        ("build_block", "BuildBlock", pb.BuildBlockRequest()),
        ("health_check", "Health", Empty()),
        ("create_handlers", "CreateHandlers", Empty()),
        ("shutdown", "Shutdown", Empty()),
    ],
)
def test_an_error_of_the_vm_reaches_the_node_without_its_paths_and_the_log_with_them(
    serve: Serve, caplog: pytest.LogCaptureFixture, method: str, call: str, request_: Any
) -> None:
    served = serve(PlainVM(**{method: fails}))
    text = details(getattr(served.client, call), request_)
    assert text == "FileNotFoundError: [Errno 2] No such file or directory: 'signer.key'"
    assert SECRET in caplog.text


def test_so_does_that_of_initialize(serve: Serve) -> None:
    served = serve(PlainVM(initialize=fails), run=False)
    assert "secret-place" not in details(served.client.Initialize, served.request())


def test_so_does_the_reason_why_a_block_is_invalid(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(data: bytes) -> NoReturn:
        raise InvalidBlock(f"can't be compared with {SECRET}")

    caplog.set_level(logging.DEBUG)
    served = serve(PlainVM(parse_block=refuse))
    assert details(served.client.ParseBlock, pb.ParseBlockRequest(bytes=b"x")) == (
        "can't be compared with signer.key"
    )


@pytest.mark.parametrize("error", [AppError(7, f"no {SECRET}"), FileNotFoundError(2, "No such file", SECRET)])
def test_a_peer_gets_no_paths(serve: Serve, error: Exception) -> None:
    def refuse(*arguments: object) -> NoReturn:
        raise error

    served = serve(PlainVM(app_request=refuse))
    sent: list[str] = []
    served.session.node.sender.send_app_error = (  # type: ignore[union-attr,method-assign]
        lambda node_id, request_id, code, message: sent.append(message)
    )
    served.client.AppRequest(pb.AppRequestMsg(node_id=NODE, request_id=1, request=b"x"))
    assert sent == ["no signer.key" if isinstance(error, AppError) else "unexpected error"]
