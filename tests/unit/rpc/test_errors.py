"""From exceptions to the wire."""

from __future__ import annotations

import binascii
import string
import struct
from urllib.parse import quote

import grpc
import pytest

from vmsdk._pb.vm import vm_pb2
from vmsdk.errors import Closed, InvalidBlock, NodeError, NotFound, StateSyncNotImplemented, VMError
from vmsdk.rpc.errors import MAX_DETAILS_BYTES, _directories, sentinel_number, status, without_paths

PRINTABLE = string.digits + string.ascii_letters + string.punctuation.replace("%", "") + " "


class BlockGone(NotFound):
    pass


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (Closed(), vm_pb2.ERROR_CLOSED),
        (NotFound(), vm_pb2.ERROR_NOT_FOUND),
        (NotFound("no block of that name"), vm_pb2.ERROR_NOT_FOUND),
        (BlockGone("pruned"), vm_pb2.ERROR_NOT_FOUND),
        (StateSyncNotImplemented(), vm_pb2.ERROR_STATE_SYNC_NOT_IMPLEMENTED),
    ],
)
def test_sentinels_have_a_number_whatever_their_text(error: Exception, number: int) -> None:
    assert sentinel_number(error) == number


def test_edge_33_an_error_raised_from_a_sentinel_is_not_one() -> None:
    wrapped = RuntimeError("the index is broken")
    wrapped.__cause__ = NotFound()
    with pytest.raises(RuntimeError, match="the index is broken"):
        sentinel_number(wrapped)


def test_an_error_is_unknown_with_exactly_its_text() -> None:
    assert status(InvalidBlock("height 3 follows 1")) == (grpc.StatusCode.UNKNOWN, "height 3 follows 1")


def test_an_error_without_text_is_named_by_its_type() -> None:
    assert status(ZeroDivisionError())[1] == "ZeroDivisionError"


def test_a_failed_call_to_the_node_keeps_its_code() -> None:
    error = NodeError("/rpcdb.Database/Get", "UNAVAILABLE", "connection refused")
    assert status(error) == (grpc.StatusCode.UNAVAILABLE, "connection refused")


@pytest.mark.parametrize("code", ["OK", "NO_SUCH_CODE"])
def test_a_code_that_is_not_a_failure_becomes_unknown(code: str) -> None:
    assert status(NodeError("/a/b", code, "x"))[0] is grpc.StatusCode.UNKNOWN


@pytest.mark.parametrize("text", ["x" * 100_000, "é" * 100_000, "\n%" * 100_000, "x" * 4_000 + "é" * 17])
def test_a_text_is_cut_to_what_a_header_can_carry(text: str) -> None:
    details = status(VMError(text))[1]
    assert MAX_DETAILS_BYTES - 10 < len(quote(details, safe=PRINTABLE)) <= MAX_DETAILS_BYTES
    assert details.endswith("...")
    assert text.startswith(details[:-3])


@pytest.mark.parametrize("text", ["x" * MAX_DETAILS_BYTES, "x" * (MAX_DETAILS_BYTES - 6) + "é"])
def test_a_text_that_just_fits_is_sent_whole(text: str) -> None:
    assert status(VMError(text))[1] == text


@pytest.mark.parametrize("fault", [RuntimeError("no"), SystemExit(1)])
def test_an_error_whose_text_fails_is_named_by_its_type(fault: BaseException) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise fault

    assert status(Unprintable())[1] == "Unprintable"


def test_a_text_that_is_not_unicode_is_reported_all_the_same() -> None:
    assert status(ValueError("bad \udcff byte"))[1] == "ValueError: bad ? byte"


@pytest.mark.parametrize("error", [KeyError("x"), OSError("disk full"), RuntimeError("no")])
def test_an_error_that_is_not_vmsdks_has_its_type_in_front(error: Exception) -> None:
    assert status(error)[1] == f"{type(error).__name__}: {error}"


def test_an_error_that_is_only_called_so_has_its_module_in_front() -> None:
    assert status(struct.error("too short"))[1] == "struct.error: too short"
    assert status(binascii.Error("odd"))[1] == "binascii.Error: odd"


def test_vmsdks_own_errors_need_no_type() -> None:
    assert status(NotFound("no block"))[1] == "no block"


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("[Errno 2] No such file: '/home/me/my keys/bls.key'", "[Errno 2] No such file: 'bls.key'"),
        ('"/etc/vm/secret.toml" is not TOML', '"secret.toml" is not TOML'),
        ("can't read /usr/lib/vm/config.json: denied", "can't read config.json: denied"),
        ("(/tmp/a/b.py, line 3)", "(b.py, line 3)"),
        ("unix:/tmp/vmsdk-plugin-1-ab/0.sock failed", "unix:0.sock failed"),
        ("path=/tmp/x/y", "path=y"),
        ("file:///usr/lib/x", "file://x"),
        ("//usr/lib/x", "x"),
        ("/usr//lib///x", "x"),
        ("'//usr//lib/my x/y'", "'y'"),
        ("-I/usr/include/x.h", "-Ix.h"),
        ("['cc', '-L/usr/lib/x']", "['cc', '-Lx']"),
        ("sub-a/usr/lib/x", "sub-a/usr/lib/x"),
        ("cc -I/usr/include/x.h", "cc -Ix.h"),
        ("GET /tmp/foo/bar", "GET bar"),
        ("https://usr/lib/x", "https://usr/lib/x"),
        ("/tmp/dir/", "dir/"),
        ("/tmp", "/tmp"),
        ("/ext/bc/chain/rpc", "/ext/bc/chain/rpc"),
        ("/vm.VM/Initialize failed", "/vm.VM/Initialize failed"),
        ("https://example.org/usr/lib", "https://example.org/usr/lib"),
        ("1/2 of a/usr/b", "1/2 of a/usr/b"),
        ("application/json", "application/json"),
        ("no path", "no path"),
    ],
)
def test_paths_of_files_lose_their_directories_and_nothing_else_does(text: str, sent: str) -> None:
    assert without_paths(text) == sent
    assert status(VMError(text))[1] == sent


def test_a_long_text_of_paths_is_trimmed_in_linear_time() -> None:
    for text in ("/tmp/" * 200_000, "'/tmp/" * 200_000, "/tmp/a" * 200_000, " /tmp/a" * 200_000):
        without_paths(text)
    for text in ("/" * 200_000, "/tmp" + "/" * 200_000, " /tmp/a//" * 200_000, "'//" * 200_000):
        without_paths(text)


def test_paths_are_trimmed_on_a_machine_whose_root_can_not_be_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def deny(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    _directories.cache_clear()
    monkeypatch.setattr("os.listdir", deny)
    try:
        assert without_paths("can't read /home/me/x") == "can't read x"
    finally:
        _directories.cache_clear()
