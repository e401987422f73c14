"""The aliases of the node's chains."""

from __future__ import annotations

from vmsdk._pb.aliasreader import aliasreader_pb2 as pb
from vmsdk._pb.aliasreader.aliasreader_grpc import AliasReader as Methods
from vmsdk.errors import InvalidInput
from vmsdk.ids import ID
from vmsdk.nodeservices import AliasReader
from vmsdk.services.call import Call
from vmsdk.services.channel import Channel


class AliasReaderClient(AliasReader):
    """The alias reader behind *channel*."""

    def __init__(self, channel: Channel) -> None:
        self._lookup = Call(channel, Methods.Lookup)
        self._primary_alias = Call(channel, Methods.PrimaryAlias)
        self._aliases = Call(channel, Methods.Aliases)

    def lookup(self, alias: str) -> ID:
        found = self._lookup(pb.Alias(alias=alias)).id
        try:
            return ID(found)
        except InvalidInput as error:
            raise self._lookup.malformed(str(error)) from None

    def primary_alias(self, chain_id: ID) -> str:
        return self._primary_alias(pb.ID(id=ID(chain_id))).alias

    def aliases(self, chain_id: ID) -> list[str]:
        return list(self._aliases(pb.ID(id=ID(chain_id))).aliases)
