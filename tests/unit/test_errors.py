"""The error taxonomy: families, attributes, and texts that the wire depends on."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from vmsdk import errors
from vmsdk.chain.block import Block
from vmsdk.chain.keys import Ed25519Key
from vmsdk.errors import VMError
from vmsdk.ids import ID, NodeID, vm_id
from vmsdk.timestamp import Timestamp
from vmsdk.warp import UnsignedMessage


def all_errors() -> list[type]:
    return [
        value
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if value.__module__ == errors.__name__
    ]


@pytest.mark.parametrize("kind", all_errors())
def test_every_error_is_a_vm_error_that_says_what_it_is(kind: type) -> None:
    assert issubclass(kind, errors.VMError)
    assert kind.__doc__


def test_faults_of_inputs_are_value_errors_as_pythonistas_expect() -> None:
    for kind in (
        errors.InvalidInput,
        errors.InvalidPublicKey,
        errors.InvalidWarpMessage,
        errors.InvalidEncoding,
        errors.UnsupportedProtocol,
    ):
        assert issubclass(kind, ValueError)


def test_not_found_is_a_key_error_but_prints_its_text_without_quotes() -> None:
    error = errors.NotFound("no block at height 7")
    assert isinstance(error, KeyError)
    assert str(error) == "no block at height 7"
    assert error.what == "no block at height 7"


def test_the_sentinels_have_the_nodes_texts() -> None:
    assert str(errors.NotFound()) == "not found"
    assert str(errors.Closed()) == "closed"
    assert str(errors.StateSyncNotImplemented()) == "vm does not implement StateSyncableVM interface"


def test_an_application_error_keeps_code_and_text() -> None:
    error = errors.AppError(-7, "no such account")
    assert (error.code, error.message) == (-7, "no such account")
    assert str(error) == "no such account (application error -7)"


def test_the_customary_application_codes_are_those_of_the_go_sdk() -> None:
    assert errors.AppError.TIMED_OUT == -1
    assert errors.AppError.UNEXPECTED == -1
    assert errors.AppError.UNREGISTERED_HANDLER == -2
    assert errors.AppError.NOT_A_VALIDATOR == -3
    assert errors.AppError.THROTTLED == -4


def test_a_failed_database_names_the_first_failure() -> None:
    error = errors.DatabaseFailed("disk full")
    assert error.first_error == "disk full"
    assert str(error) == "closed to avoid possible corruption, init error: disk full"


def test_a_node_error_without_text_still_says_which_call_failed() -> None:
    silent = errors.NodeError("/warp.Signer/Sign", "UNAVAILABLE", "")
    assert str(silent) == "/warp.Signer/Sign failed with UNAVAILABLE"
    assert str(errors.NodeError("/warp.Signer/Sign", "UNKNOWN", "wrong networkID")) == "wrong networkID"


def test_a_node_that_is_too_old_is_reported_with_both_versions() -> None:
    error = errors.NodeTooOld("the current validator set", needs=38, has=35)
    assert (error.needs, error.has) == (38, 35)
    assert "protocol 38" in str(error)
    assert "speaks 35" in str(error)


def test_a_broken_rule_is_kept_apart_from_its_numbers() -> None:
    error = errors.InvalidEncoding("trailing buffer space", "read 4 provided 5")
    assert (error.rule, error.detail) == ("trailing buffer space", "read 4 provided 5")
    assert str(error) == "trailing buffer space: read 4 provided 5"
    assert str(errors.InvalidEncoding("Time.UnmarshalBinary: no data")) == "Time.UnmarshalBinary: no data"


def test_a_missing_library_comes_with_the_command_that_installs_it() -> None:
    error = errors.MissingExtra("signing", package="py_arkworks_bls12381", extra="warp")
    assert isinstance(error, ImportError)
    assert str(error) == "signing needs the package py_arkworks_bls12381: pip install 'vmsdk[warp]'"


@pytest.mark.parametrize(
    "read",
    [
        ID.from_string,
        NodeID.from_string,
        lambda text: ID.from_string("1" * len(text)),
        lambda text: NodeID.from_string(f"NodeID-{text}"),
        lambda text: ID(text.encode()),
        vm_id,
        Timestamp.of,
        lambda text: Block.from_bytes(text.encode()),
        lambda text: UnsignedMessage.decode(text.encode()),
        Ed25519Key.from_hex,
    ],
)
def test_an_error_about_a_huge_value_has_a_short_text(read: Callable[[str], object]) -> None:
    with pytest.raises(VMError) as caught:
        read("x" * 1_000_000)
    assert len(str(caught.value)) < 500
