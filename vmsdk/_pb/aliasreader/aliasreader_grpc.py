# Made by proto/generate.py from proto/aliasreader/aliasreader.proto: edit that instead.
from typing import Final

from vmsdk._pb._service import Method, Service
from vmsdk._pb.aliasreader import aliasreader_pb2


class AliasReader(Service):
    full_name = "aliasreader.AliasReader"

    Lookup: Final = Method("/aliasreader.AliasReader/Lookup", aliasreader_pb2.Alias, aliasreader_pb2.ID)
    PrimaryAlias: Final = Method("/aliasreader.AliasReader/PrimaryAlias", aliasreader_pb2.ID, aliasreader_pb2.Alias)
    Aliases: Final = Method("/aliasreader.AliasReader/Aliases", aliasreader_pb2.ID, aliasreader_pb2.AliasList)
