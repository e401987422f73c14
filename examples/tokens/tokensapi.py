"""The HTTP interface of a token chain: FastAPI, with an OpenAPI page and a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Path, Query, Request, WebSocket, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

import vmsdk
from vmsdk.chain import SnapshotUnavailable
from vmsdk.errors import Refused

if TYPE_CHECKING:
    from tokensvm import TokensVM

MAX_HEIGHT = (1 << 64) - 1
MAX_SUBMITTED = 1_000

Address = Annotated[str, Path(pattern="^[0-9a-f]{40}$", description="20 bytes, hexadecimal")]
Height = Annotated[int, Path(ge=0, le=MAX_HEIGHT, description="The genesis block has height 0.")]
Start = Annotated[int, Query(ge=0, le=MAX_HEIGHT)]


class Chain(BaseModel):
    """What a wallet needs to know."""

    chain_id: Annotated[str, Field(description="Signatures include it")]
    height: int
    min_fee: int


class Account(BaseModel):
    """An account. All accounts exist; most are empty."""

    address: str
    balance: int
    nonce: Annotated[int, Field(description="How many transfers it has sent")]
    next_nonce: Annotated[int, Field(description="For its next transfer: those waiting are counted")]


class Transfers(BaseModel):
    """Signed transfers, each as hexadecimal bytes."""

    raw: Annotated[
        list[Annotated[str, Field(max_length=1_000, pattern="^([0-9a-f]{2})*$")]],
        Field(min_length=1, max_length=MAX_SUBMITTED),
    ]


class Submitted(BaseModel):
    """The ID of a transfer that waits for a block, or why it was refused."""

    id: str | None = None
    error: str | None = None


class Transfer(BaseModel):
    """A transfer in a block."""

    id: str
    sender: str
    to: str
    amount: int
    fee: int
    nonce: int


class Block(BaseModel):
    """An accepted block."""

    id: str
    height: int
    timestamp: Annotated[int, Field(description="Unix milliseconds")]
    transfers: list[Transfer]


class Status(BaseModel):
    """The status of a transfer."""

    status: Literal["accepted", "waiting", "dropped"]
    height: int | None = None
    reason: str | None = None


class Placed(BaseModel):
    """Where a transfer is."""

    id: str
    height: int


def create_app(vm: TokensVM) -> FastAPI:
    """Create the app of one chain."""
    app = FastAPI(title="Tokens", version=vm.version, description="Accounts and signed transfers.")

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own response repeats the input, which JSON can't hold if it is NaN.
        details = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
        return JSONResponse({"detail": details}, status.HTTP_422_UNPROCESSABLE_CONTENT)

    @app.exception_handler(SnapshotUnavailable)
    def busy(request: Request, error: SnapshotUnavailable) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status.HTTP_503_SERVICE_UNAVAILABLE)

    @app.get("/chain", response_model=Chain)
    def chain() -> Any:
        """The chain's ID, its height and the fee."""
        return vm.info()

    @app.get("/accounts/{address}", response_model=Account)
    def account(address: Address) -> Any:
        """An account's balance and nonces."""
        return vm.account(bytes.fromhex(address))

    @app.get("/accounts/{address}/transfers", response_model=list[Placed])
    def transfers_of(
        address: Address, start: Start = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Any:
        """The transfers from and to an account, from height *start* on."""
        found = vm.events(bytes.fromhex(address), start, limit=limit)
        return [{"id": str(each.transaction_id), "height": each.height} for each in found]

    @app.post("/transfers", status_code=status.HTTP_202_ACCEPTED, response_model=list[Submitted])
    def submit(transfers: Transfers) -> Any:
        """Submit signed transfers. Each is accepted for a block or refused independently."""
        return [
            {"error": str(each)} if isinstance(each, Refused) else {"id": str(each)}
            for each in vm.submit_many(map(bytes.fromhex, transfers.raw))
        ]

    @app.get("/transfers/{transfer_id}", response_model=Status, response_model_exclude_none=True)
    def status_of(transfer_id: str) -> Any:
        """The status of a transfer."""
        try:
            return vm.status_of(vmsdk.ID.from_string(transfer_id))
        except vmsdk.InvalidInput as error:
            raise HTTPException(status.HTTP_400_BAD_REQUEST, str(error)) from None
        except vmsdk.NotFound:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "this node has never seen the transfer") from None

    @app.get("/blocks/{height}", response_model=Block)
    def block_at(height: Height) -> Any:
        """The block at this height."""
        for block in vm.blocks(height, limit=1):
            return vm.block_to_json(block)
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no block at height {height}")

    @app.websocket("/feed")
    async def feed(
        websocket: WebSocket, start: Annotated[int | None, Query(ge=0, le=MAX_HEIGHT)] = None
    ) -> None:
        """Send each block as it is accepted; with `?start=7`, first those from height 7 on."""
        await vm.feed.send_to(websocket, vm.block_to_json, start)

    return app
