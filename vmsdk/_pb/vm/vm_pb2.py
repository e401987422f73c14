# Made by proto/generate.py from proto/vm/vm.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()


from google.protobuf import duration_pb2 as google_dot_protobuf_dot_duration__pb2
from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2
from google.protobuf import timestamp_pb2 as google_dot_protobuf_dot_timestamp__pb2
from vmsdk._pb.io.prometheus.client import metrics_pb2 as vmsdk_dot___pb_dot_io_dot_prometheus_dot_client_dot_metrics__pb2


DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n\x15vmsdk/_pb/vm/vm.proto\x12\x08vmsdk.vm\x1a\x1egoogle/protobuf/duration.proto\x1a\x1bgoogle/protobuf/empty.proto\x1a\x1fgoogle/protobuf/timestamp.proto\x1a,vmsdk/_pb/io/prometheus/client/metrics.proto\"\xa2\x04\n\x11InitializeRequest\x12\x1d\n\nnetwork_id\x18\x01 \x01(\rR\tnetworkId\x12\x1b\n\tsubnet_id\x18\x02 \x01(\x0cR\x08subnetId\x12\x19\n\x08\x63hain_id\x18\x03 \x01(\x0cR\x07\x63hainId\x12\x17\n\x07node_id\x18\x04 \x01(\x0cR\x06nodeId\x12\x1d\n\npublic_key\x18\x05 \x01(\x0cR\tpublicKey\x12\x1c\n\nx_chain_id\x18\x06 \x01(\x0cR\x08xChainId\x12\x1c\n\nc_chain_id\x18\x07 \x01(\x0cR\x08\x63\x43hainId\x12\"\n\ravax_asset_id\x18\x08 \x01(\x0cR\x0b\x61vaxAssetId\x12$\n\x0e\x63hain_data_dir\x18\t \x01(\tR\x0c\x63hainDataDir\x12#\n\rgenesis_bytes\x18\n \x01(\x0cR\x0cgenesisBytes\x12#\n\rupgrade_bytes\x18\x0b \x01(\x0cR\x0cupgradeBytes\x12!\n\x0c\x63onfig_bytes\x18\x0c \x01(\x0cR\x0b\x63onfigBytes\x12$\n\x0e\x64\x62_server_addr\x18\r \x01(\tR\x0c\x64\x62ServerAddr\x12\x1f\n\x0bserver_addr\x18\x0e \x01(\tR\nserverAddr\x12\x44\n\x10network_upgrades\x18\x0f \x01(\x0b\x32\x19.vmsdk.vm.NetworkUpgradesR\x0fnetworkUpgrades\"\xdd\x01\n\x12InitializeResponse\x12(\n\x10last_accepted_id\x18\x01 \x01(\x0cR\x0elastAcceptedId\x12\x35\n\x17last_accepted_parent_id\x18\x02 \x01(\x0cR\x14lastAcceptedParentId\x12\x16\n\x06height\x18\x03 \x01(\x04R\x06height\x12\x14\n\x05\x62ytes\x18\x04 \x01(\x0cR\x05\x62ytes\x12\x38\n\ttimestamp\x18\x05 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\ttimestamp\"\x96\n\n\x0fNetworkUpgrades\x12K\n\x14\x61pricot_phase_1_time\x18\x01 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x11\x61pricotPhase1Time\x12K\n\x14\x61pricot_phase_2_time\x18\x02 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x11\x61pricotPhase2Time\x12K\n\x14\x61pricot_phase_3_time\x18\x03 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x11\x61pricotPhase3Time\x12K\n\x14\x61pricot_phase_4_time\x18\x04 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x11\x61pricotPhase4Time\x12H\n\"apricot_phase_4_min_p_chain_height\x18\x05 \x01(\x04R\x1c\x61pricotPhase4MinPChainHeight\x12K\n\x14\x61pricot_phase_5_time\x18\x06 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x11\x61pricotPhase5Time\x12R\n\x18\x61pricot_phase_pre_6_time\x18\x07 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x14\x61pricotPhasePre6Time\x12K\n\x14\x61pricot_phase_6_time\x18\x08 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x11\x61pricotPhase6Time\x12T\n\x19\x61pricot_phase_post_6_time\x18\t \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x15\x61pricotPhasePost6Time\x12\x39\n\nbanff_time\x18\n \x01(\x0b\x32\x1a.google.protobuf.TimestampR\tbanffTime\x12=\n\x0c\x63ortina_time\x18\x0b \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x0b\x63ortinaTime\x12\x41\n\x1e\x63ortina_x_chain_stop_vertex_id\x18\x0c \x01(\x0cR\x19\x63ortinaXChainStopVertexId\x12=\n\x0c\x64urango_time\x18\r \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x0b\x64urangoTime\x12\x37\n\tetna_time\x18\x0e \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x08\x65tnaTime\x12=\n\x0c\x66ortuna_time\x18\x0f \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x0b\x66ortunaTime\x12=\n\x0cgranite_time\x18\x10 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x0bgraniteTime\x12O\n\x16granite_epoch_duration\x18\x11 \x01(\x0b\x32\x19.google.protobuf.DurationR\x14graniteEpochDuration\x12=\n\x0chelicon_time\x18\x12 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x0bheliconTime\"8\n\x0fSetStateRequest\x12%\n\x05state\x18\x01 \x01(\x0e\x32\x0f.vmsdk.vm.StateR\x05state\"\xdb\x01\n\x10SetStateResponse\x12(\n\x10last_accepted_id\x18\x01 \x01(\x0cR\x0elastAcceptedId\x12\x35\n\x17last_accepted_parent_id\x18\x02 \x01(\x0cR\x14lastAcceptedParentId\x12\x16\n\x06height\x18\x03 \x01(\x04R\x06height\x12\x14\n\x05\x62ytes\x18\x04 \x01(\x0cR\x05\x62ytes\x12\x38\n\ttimestamp\x18\x05 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\ttimestamp\"G\n\x16\x43reateHandlersResponse\x12-\n\x08handlers\x18\x01 \x03(\x0b\x32\x11.vmsdk.vm.HandlerR\x08handlers\"B\n\x07Handler\x12\x16\n\x06prefix\x18\x01 \x01(\tR\x06prefix\x12\x1f\n\x0bserver_addr\x18\x02 \x01(\tR\nserverAddr\"=\n\x1a\x43reateHTTP2HandlerResponse\x12\x1f\n\x0bserver_addr\x18\x01 \x01(\tR\nserverAddr\"9\n\x16NewHTTPHandlerResponse\x12\x1f\n\x0bserver_addr\x18\x01 \x01(\tR\nserverAddr\"C\n\x14WaitForEventResponse\x12+\n\x07message\x18\x01 \x01(\x0e\x32\x11.vmsdk.vm.MessageR\x07message\"Q\n\x11\x42uildBlockRequest\x12)\n\x0ep_chain_height\x18\x01 \x01(\x04H\x00R\x0cpChainHeight\x88\x01\x01\x42\x11\n\x0f_p_chain_height\"\xd9\x01\n\x12\x42uildBlockResponse\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\x12\x1b\n\tparent_id\x18\x02 \x01(\x0cR\x08parentId\x12\x14\n\x05\x62ytes\x18\x03 \x01(\x0cR\x05\x62ytes\x12\x16\n\x06height\x18\x04 \x01(\x04R\x06height\x12\x38\n\ttimestamp\x18\x05 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\ttimestamp\x12.\n\x13verify_with_context\x18\x06 \x01(\x08R\x11verifyWithContext\")\n\x11ParseBlockRequest\x12\x14\n\x05\x62ytes\x18\x01 \x01(\x0cR\x05\x62ytes\"\xed\x01\n\x12ParseBlockResponse\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\x12\x1b\n\tparent_id\x18\x02 \x01(\x0cR\x08parentId\x12(\n\x06status\x18\x03 \x01(\x0e\x32\x10.vmsdk.vm.StatusR\x06status\x12\x16\n\x06height\x18\x04 \x01(\x04R\x06height\x12\x38\n\ttimestamp\x18\x05 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\ttimestamp\x12.\n\x13verify_with_context\x18\x06 \x01(\x08R\x11verifyWithContext\"!\n\x0fGetBlockRequest\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\"\x94\x02\n\x10GetBlockResponse\x12\x1b\n\tparent_id\x18\x01 \x01(\x0cR\x08parentId\x12\x14\n\x05\x62ytes\x18\x02 \x01(\x0cR\x05\x62ytes\x12(\n\x06status\x18\x03 \x01(\x0e\x32\x10.vmsdk.vm.StatusR\x06status\x12\x16\n\x06height\x18\x04 \x01(\x04R\x06height\x12\x38\n\ttimestamp\x18\x05 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\ttimestamp\x12!\n\x03\x65rr\x18\x06 \x01(\x0e\x32\x0f.vmsdk.vm.ErrorR\x03\x65rr\x12.\n\x13verify_with_context\x18\x07 \x01(\x08R\x11verifyWithContext\"&\n\x14SetPreferenceRequest\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\"h\n\x12\x42lockVerifyRequest\x12\x14\n\x05\x62ytes\x18\x01 \x01(\x0cR\x05\x62ytes\x12)\n\x0ep_chain_height\x18\x02 \x01(\x04H\x00R\x0cpChainHeight\x88\x01\x01\x42\x11\n\x0f_p_chain_height\"O\n\x13\x42lockVerifyResponse\x12\x38\n\ttimestamp\x18\x01 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\ttimestamp\"$\n\x12\x42lockAcceptRequest\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\"$\n\x12\x42lockRejectRequest\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\"*\n\x0eHealthResponse\x12\x18\n\x07\x64\x65tails\x18\x01 \x01(\x0cR\x07\x64\x65tails\"+\n\x0fVersionResponse\x12\x18\n\x07version\x18\x01 \x01(\tR\x07version\"\x99\x01\n\rAppRequestMsg\x12\x17\n\x07node_id\x18\x01 \x01(\x0cR\x06nodeId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x36\n\x08\x64\x65\x61\x64line\x18\x03 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x08\x64\x65\x61\x64line\x12\x18\n\x07request\x18\x04 \x01(\x0cR\x07request\"\x91\x01\n\x13\x41ppRequestFailedMsg\x12\x17\n\x07node_id\x18\x01 \x01(\x0cR\x06nodeId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x1d\n\nerror_code\x18\x03 \x01(\x11R\terrorCode\x12#\n\rerror_message\x18\x04 \x01(\tR\x0c\x65rrorMessage\"d\n\x0e\x41ppResponseMsg\x12\x17\n\x07node_id\x18\x01 \x01(\x0cR\x06nodeId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x1a\n\x08response\x18\x03 \x01(\x0cR\x08response\"9\n\x0c\x41ppGossipMsg\x12\x17\n\x07node_id\x18\x01 \x01(\x0cR\x06nodeId\x12\x10\n\x03msg\x18\x02 \x01(\x0cR\x03msg\"\xa5\x01\n\x17\x43rossChainAppRequestMsg\x12\x19\n\x08\x63hain_id\x18\x01 \x01(\x0cR\x07\x63hainId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x36\n\x08\x64\x65\x61\x64line\x18\x03 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x08\x64\x65\x61\x64line\x12\x18\n\x07request\x18\x04 \x01(\x0cR\x07request\"\x9d\x01\n\x1d\x43rossChainAppRequestFailedMsg\x12\x19\n\x08\x63hain_id\x18\x01 \x01(\x0cR\x07\x63hainId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x1d\n\nerror_code\x18\x03 \x01(\x11R\terrorCode\x12#\n\rerror_message\x18\x04 \x01(\tR\x0c\x65rrorMessage\"p\n\x18\x43rossChainAppResponseMsg\x12\x19\n\x08\x63hain_id\x18\x01 \x01(\x0cR\x07\x63hainId\x12\x1d\n\nrequest_id\x18\x02 \x01(\rR\trequestId\x12\x1a\n\x08response\x18\x03 \x01(\x0cR\x08response\"\x81\x01\n\x10\x43onnectedRequest\x12\x17\n\x07node_id\x18\x01 \x01(\x0cR\x06nodeId\x12\x12\n\x04name\x18\x02 \x01(\tR\x04name\x12\x14\n\x05major\x18\x03 \x01(\rR\x05major\x12\x14\n\x05minor\x18\x04 \x01(\rR\x05minor\x12\x14\n\x05patch\x18\x05 \x01(\rR\x05patch\".\n\x13\x44isconnectedRequest\x12\x17\n\x07node_id\x18\x01 \x01(\x0cR\x06nodeId\"\xb3\x01\n\x13GetAncestorsRequest\x12\x15\n\x06\x62lk_id\x18\x01 \x01(\x0cR\x05\x62lkId\x12$\n\x0emax_blocks_num\x18\x02 \x01(\x05R\x0cmaxBlocksNum\x12&\n\x0fmax_blocks_size\x18\x03 \x01(\x05R\rmaxBlocksSize\x12\x37\n\x18max_blocks_retrival_time\x18\x04 \x01(\x03R\x15maxBlocksRetrivalTime\"5\n\x14GetAncestorsResponse\x12\x1d\n\nblks_bytes\x18\x01 \x03(\x0cR\tblksBytes\"4\n\x18\x42\x61tchedParseBlockRequest\x12\x18\n\x07request\x18\x01 \x03(\x0cR\x07request\"U\n\x19\x42\x61tchedParseBlockResponse\x12\x38\n\x08response\x18\x01 \x03(\x0b\x32\x1c.vmsdk.vm.ParseBlockResponseR\x08response\"3\n\x19GetBlockIDAtHeightRequest\x12\x16\n\x06height\x18\x01 \x01(\x04R\x06height\"V\n\x1aGetBlockIDAtHeightResponse\x12\x15\n\x06\x62lk_id\x18\x01 \x01(\x0cR\x05\x62lkId\x12!\n\x03\x65rr\x18\x02 \x01(\x0e\x32\x0f.vmsdk.vm.ErrorR\x03\x65rr\"c\n\x0eGatherResponse\x12Q\n\x0fmetric_families\x18\x01 \x03(\x0b\x32(.vmsdk.io.prometheus.client.MetricFamilyR\x0emetricFamilies\"W\n\x18StateSyncEnabledResponse\x12\x18\n\x07\x65nabled\x18\x01 \x01(\x08R\x07\x65nabled\x12!\n\x03\x65rr\x18\x02 \x01(\x0e\x32\x0f.vmsdk.vm.ErrorR\x03\x65rr\"\x85\x01\n\"GetOngoingSyncStateSummaryResponse\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\x12\x16\n\x06height\x18\x02 \x01(\x04R\x06height\x12\x14\n\x05\x62ytes\x18\x03 \x01(\x0cR\x05\x62ytes\x12!\n\x03\x65rr\x18\x04 \x01(\x0e\x32\x0f.vmsdk.vm.ErrorR\x03\x65rr\"~\n\x1bGetLastStateSummaryResponse\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\x12\x16\n\x06height\x18\x02 \x01(\x04R\x06height\x12\x14\n\x05\x62ytes\x18\x03 \x01(\x0cR\x05\x62ytes\x12!\n\x03\x65rr\x18\x04 \x01(\x0e\x32\x0f.vmsdk.vm.ErrorR\x03\x65rr\"0\n\x18ParseStateSummaryRequest\x12\x14\n\x05\x62ytes\x18\x01 \x01(\x0cR\x05\x62ytes\"f\n\x19ParseStateSummaryResponse\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\x12\x16\n\x06height\x18\x02 \x01(\x04R\x06height\x12!\n\x03\x65rr\x18\x03 \x01(\x0e\x32\x0f.vmsdk.vm.ErrorR\x03\x65rr\"0\n\x16GetStateSummaryRequest\x12\x16\n\x06height\x18\x01 \x01(\x04R\x06height\"b\n\x17GetStateSummaryResponse\x12\x0e\n\x02id\x18\x01 \x01(\x0cR\x02id\x12\x14\n\x05\x62ytes\x18\x02 \x01(\x0cR\x05\x62ytes\x12!\n\x03\x65rr\x18\x03 \x01(\x0e\x32\x0f.vmsdk.vm.ErrorR\x03\x65rr\"1\n\x19StateSummaryAcceptRequest\x12\x14\n\x05\x62ytes\x18\x01 \x01(\x0cR\x05\x62ytes\"\xd1\x01\n\x1aStateSummaryAcceptResponse\x12=\n\x04mode\x18\x01 \x01(\x0e\x32).vmsdk.vm.StateSummaryAcceptResponse.ModeR\x04mode\x12!\n\x03\x65rr\x18\x02 \x01(\x0e\x32\x0f.vmsdk.vm.ErrorR\x03\x65rr\"Q\n\x04Mode\x12\x14\n\x10MODE_UNSPECIFIED\x10\x00\x12\x10\n\x0cMODE_SKIPPED\x10\x01\x12\x0f\n\x0bMODE_STATIC\x10\x02\x12\x10\n\x0cMODE_DYNAMIC\x10\x03*e\n\x05State\x12\x15\n\x11STATE_UNSPECIFIED\x10\x00\x12\x17\n\x13STATE_STATE_SYNCING\x10\x01\x12\x17\n\x13STATE_BOOTSTRAPPING\x10\x02\x12\x13\n\x0fSTATE_NORMAL_OP\x10\x03*a\n\x06Status\x12\x16\n\x12STATUS_UNSPECIFIED\x10\x00\x12\x15\n\x11STATUS_PROCESSING\x10\x01\x12\x13\n\x0fSTATUS_REJECTED\x10\x02\x12\x13\n\x0fSTATUS_ACCEPTED\x10\x03*k\n\x05\x45rror\x12\x15\n\x11\x45RROR_UNSPECIFIED\x10\x00\x12\x10\n\x0c\x45RROR_CLOSED\x10\x01\x12\x13\n\x0f\x45RROR_NOT_FOUND\x10\x02\x12$\n ERROR_STATE_SYNC_NOT_IMPLEMENTED\x10\x03*\\\n\x07Message\x12\x17\n\x13MESSAGE_UNSPECIFIED\x10\x00\x12\x17\n\x13MESSAGE_BUILD_BLOCK\x10\x01\x12\x1f\n\x1bMESSAGE_STATE_SYNC_FINISHED\x10\x02\x32\xf0\x14\n\x02VM\x12G\n\nInitialize\x12\x1b.vmsdk.vm.InitializeRequest\x1a\x1c.vmsdk.vm.InitializeResponse\x12\x41\n\x08SetState\x12\x19.vmsdk.vm.SetStateRequest\x1a\x1a.vmsdk.vm.SetStateResponse\x12:\n\x08Shutdown\x12\x16.google.protobuf.Empty\x1a\x16.google.protobuf.Empty\x12J\n\x0e\x43reateHandlers\x12\x16.google.protobuf.Empty\x1a .vmsdk.vm.CreateHandlersResponse\x12?\n\tConnected\x12\x1a.vmsdk.vm.ConnectedRequest\x1a\x16.google.protobuf.Empty\x12\x45\n\x0c\x44isconnected\x12\x1d.vmsdk.vm.DisconnectedRequest\x1a\x16.google.protobuf.Empty\x12G\n\nBuildBlock\x12\x1b.vmsdk.vm.BuildBlockRequest\x1a\x1c.vmsdk.vm.BuildBlockResponse\x12G\n\nParseBlock\x12\x1b.vmsdk.vm.ParseBlockRequest\x1a\x1c.vmsdk.vm.ParseBlockResponse\x12\x41\n\x08GetBlock\x12\x19.vmsdk.vm.GetBlockRequest\x1a\x1a.vmsdk.vm.GetBlockResponse\x12G\n\rSetPreference\x12\x1e.vmsdk.vm.SetPreferenceRequest\x1a\x16.google.protobuf.Empty\x12:\n\x06Health\x12\x16.google.protobuf.Empty\x1a\x18.vmsdk.vm.HealthResponse\x12<\n\x07Version\x12\x16.google.protobuf.Empty\x1a\x19.vmsdk.vm.VersionResponse\x12=\n\nAppRequest\x12\x17.vmsdk.vm.AppRequestMsg\x1a\x16.google.protobuf.Empty\x12I\n\x10\x41ppRequestFailed\x12\x1d.vmsdk.vm.AppRequestFailedMsg\x1a\x16.google.protobuf.Empty\x12?\n\x0b\x41ppResponse\x12\x18.vmsdk.vm.AppResponseMsg\x1a\x16.google.protobuf.Empty\x12;\n\tAppGossip\x12\x16.vmsdk.vm.AppGossipMsg\x1a\x16.google.protobuf.Empty\x12:\n\x06Gather\x12\x16.google.protobuf.Empty\x1a\x18.vmsdk.vm.GatherResponse\x12Q\n\x14\x43rossChainAppRequest\x12!.vmsdk.vm.CrossChainAppRequestMsg\x1a\x16.google.protobuf.Empty\x12]\n\x1a\x43rossChainAppRequestFailed\x12\'.vmsdk.vm.CrossChainAppRequestFailedMsg\x1a\x16.google.protobuf.Empty\x12S\n\x15\x43rossChainAppResponse\x12\".vmsdk.vm.CrossChainAppResponseMsg\x1a\x16.google.protobuf.Empty\x12M\n\x0cGetAncestors\x12\x1d.vmsdk.vm.GetAncestorsRequest\x1a\x1e.vmsdk.vm.GetAncestorsResponse\x12\\\n\x11\x42\x61tchedParseBlock\x12\".vmsdk.vm.BatchedParseBlockRequest\x1a#.vmsdk.vm.BatchedParseBlockResponse\x12_\n\x12GetBlockIDAtHeight\x12#.vmsdk.vm.GetBlockIDAtHeightRequest\x1a$.vmsdk.vm.GetBlockIDAtHeightResponse\x12N\n\x10StateSyncEnabled\x12\x16.google.protobuf.Empty\x1a\".vmsdk.vm.StateSyncEnabledResponse\x12\x62\n\x1aGetOngoingSyncStateSummary\x12\x16.google.protobuf.Empty\x1a,.vmsdk.vm.GetOngoingSyncStateSummaryResponse\x12T\n\x13GetLastStateSummary\x12\x16.google.protobuf.Empty\x1a%.vmsdk.vm.GetLastStateSummaryResponse\x12\\\n\x11ParseStateSummary\x12\".vmsdk.vm.ParseStateSummaryRequest\x1a#.vmsdk.vm.ParseStateSummaryResponse\x12V\n\x0fGetStateSummary\x12 .vmsdk.vm.GetStateSummaryRequest\x1a!.vmsdk.vm.GetStateSummaryResponse\x12J\n\x0b\x42lockVerify\x12\x1c.vmsdk.vm.BlockVerifyRequest\x1a\x1d.vmsdk.vm.BlockVerifyResponse\x12\x43\n\x0b\x42lockAccept\x12\x1c.vmsdk.vm.BlockAcceptRequest\x1a\x16.google.protobuf.Empty\x12\x43\n\x0b\x42lockReject\x12\x1c.vmsdk.vm.BlockRejectRequest\x1a\x16.google.protobuf.Empty\x12_\n\x12StateSummaryAccept\x12#.vmsdk.vm.StateSummaryAcceptRequest\x1a$.vmsdk.vm.StateSummaryAcceptResponse\x12R\n\x12\x43reateHTTP2Handler\x12\x16.google.protobuf.Empty\x1a$.vmsdk.vm.CreateHTTP2HandlerResponse\x12J\n\x0eNewHTTPHandler\x12\x16.google.protobuf.Empty\x1a .vmsdk.vm.NewHTTPHandlerResponse\x12\x46\n\x0cWaitForEvent\x12\x16.google.protobuf.Empty\x1a\x1e.vmsdk.vm.WaitForEventResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.vm.vm_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_STATE']._serialized_start=6784
  _globals['_STATE']._serialized_end=6885
  _globals['_STATUS']._serialized_start=6887
  _globals['_STATUS']._serialized_end=6984
  _globals['_ERROR']._serialized_start=6986
  _globals['_ERROR']._serialized_end=7093
  _globals['_MESSAGE']._serialized_start=7095
  _globals['_MESSAGE']._serialized_end=7187
  _globals['_INITIALIZEREQUEST']._serialized_start=176
  _globals['_INITIALIZEREQUEST']._serialized_end=722
  _globals['_INITIALIZERESPONSE']._serialized_start=725
  _globals['_INITIALIZERESPONSE']._serialized_end=946
  _globals['_NETWORKUPGRADES']._serialized_start=949
  _globals['_NETWORKUPGRADES']._serialized_end=2251
  _globals['_SETSTATEREQUEST']._serialized_start=2253
  _globals['_SETSTATEREQUEST']._serialized_end=2309
  _globals['_SETSTATERESPONSE']._serialized_start=2312
  _globals['_SETSTATERESPONSE']._serialized_end=2531
  _globals['_CREATEHANDLERSRESPONSE']._serialized_start=2533
  _globals['_CREATEHANDLERSRESPONSE']._serialized_end=2604
  _globals['_HANDLER']._serialized_start=2606
  _globals['_HANDLER']._serialized_end=2672
  _globals['_CREATEHTTP2HANDLERRESPONSE']._serialized_start=2674
  _globals['_CREATEHTTP2HANDLERRESPONSE']._serialized_end=2735
  _globals['_NEWHTTPHANDLERRESPONSE']._serialized_start=2737
  _globals['_NEWHTTPHANDLERRESPONSE']._serialized_end=2794
  _globals['_WAITFOREVENTRESPONSE']._serialized_start=2796
  _globals['_WAITFOREVENTRESPONSE']._serialized_end=2863
  _globals['_BUILDBLOCKREQUEST']._serialized_start=2865
  _globals['_BUILDBLOCKREQUEST']._serialized_end=2946
  _globals['_BUILDBLOCKRESPONSE']._serialized_start=2949
  _globals['_BUILDBLOCKRESPONSE']._serialized_end=3166
  _globals['_PARSEBLOCKREQUEST']._serialized_start=3168
  _globals['_PARSEBLOCKREQUEST']._serialized_end=3209
  _globals['_PARSEBLOCKRESPONSE']._serialized_start=3212
  _globals['_PARSEBLOCKRESPONSE']._serialized_end=3449
  _globals['_GETBLOCKREQUEST']._serialized_start=3451
  _globals['_GETBLOCKREQUEST']._serialized_end=3484
  _globals['_GETBLOCKRESPONSE']._serialized_start=3487
  _globals['_GETBLOCKRESPONSE']._serialized_end=3763
  _globals['_SETPREFERENCEREQUEST']._serialized_start=3765
  _globals['_SETPREFERENCEREQUEST']._serialized_end=3803
  _globals['_BLOCKVERIFYREQUEST']._serialized_start=3805
  _globals['_BLOCKVERIFYREQUEST']._serialized_end=3909
  _globals['_BLOCKVERIFYRESPONSE']._serialized_start=3911
  _globals['_BLOCKVERIFYRESPONSE']._serialized_end=3990
  _globals['_BLOCKACCEPTREQUEST']._serialized_start=3992
  _globals['_BLOCKACCEPTREQUEST']._serialized_end=4028
  _globals['_BLOCKREJECTREQUEST']._serialized_start=4030
  _globals['_BLOCKREJECTREQUEST']._serialized_end=4066
  _globals['_HEALTHRESPONSE']._serialized_start=4068
  _globals['_HEALTHRESPONSE']._serialized_end=4110
  _globals['_VERSIONRESPONSE']._serialized_start=4112
  _globals['_VERSIONRESPONSE']._serialized_end=4155
  _globals['_APPREQUESTMSG']._serialized_start=4158
  _globals['_APPREQUESTMSG']._serialized_end=4311
  _globals['_APPREQUESTFAILEDMSG']._serialized_start=4314
  _globals['_APPREQUESTFAILEDMSG']._serialized_end=4459
  _globals['_APPRESPONSEMSG']._serialized_start=4461
  _globals['_APPRESPONSEMSG']._serialized_end=4561
  _globals['_APPGOSSIPMSG']._serialized_start=4563
  _globals['_APPGOSSIPMSG']._serialized_end=4620
  _globals['_CROSSCHAINAPPREQUESTMSG']._serialized_start=4623
  _globals['_CROSSCHAINAPPREQUESTMSG']._serialized_end=4788
  _globals['_CROSSCHAINAPPREQUESTFAILEDMSG']._serialized_start=4791
  _globals['_CROSSCHAINAPPREQUESTFAILEDMSG']._serialized_end=4948
  _globals['_CROSSCHAINAPPRESPONSEMSG']._serialized_start=4950
  _globals['_CROSSCHAINAPPRESPONSEMSG']._serialized_end=5062
  _globals['_CONNECTEDREQUEST']._serialized_start=5065
  _globals['_CONNECTEDREQUEST']._serialized_end=5194
  _globals['_DISCONNECTEDREQUEST']._serialized_start=5196
  _globals['_DISCONNECTEDREQUEST']._serialized_end=5242
  _globals['_GETANCESTORSREQUEST']._serialized_start=5245
  _globals['_GETANCESTORSREQUEST']._serialized_end=5424
  _globals['_GETANCESTORSRESPONSE']._serialized_start=5426
  _globals['_GETANCESTORSRESPONSE']._serialized_end=5479
  _globals['_BATCHEDPARSEBLOCKREQUEST']._serialized_start=5481
  _globals['_BATCHEDPARSEBLOCKREQUEST']._serialized_end=5533
  _globals['_BATCHEDPARSEBLOCKRESPONSE']._serialized_start=5535
  _globals['_BATCHEDPARSEBLOCKRESPONSE']._serialized_end=5620
  _globals['_GETBLOCKIDATHEIGHTREQUEST']._serialized_start=5622
  _globals['_GETBLOCKIDATHEIGHTREQUEST']._serialized_end=5673
  _globals['_GETBLOCKIDATHEIGHTRESPONSE']._serialized_start=5675
  _globals['_GETBLOCKIDATHEIGHTRESPONSE']._serialized_end=5761
  _globals['_GATHERRESPONSE']._serialized_start=5763
  _globals['_GATHERRESPONSE']._serialized_end=5862
  _globals['_STATESYNCENABLEDRESPONSE']._serialized_start=5864
  _globals['_STATESYNCENABLEDRESPONSE']._serialized_end=5951
  _globals['_GETONGOINGSYNCSTATESUMMARYRESPONSE']._serialized_start=5954
  _globals['_GETONGOINGSYNCSTATESUMMARYRESPONSE']._serialized_end=6087
  _globals['_GETLASTSTATESUMMARYRESPONSE']._serialized_start=6089
  _globals['_GETLASTSTATESUMMARYRESPONSE']._serialized_end=6215
  _globals['_PARSESTATESUMMARYREQUEST']._serialized_start=6217
  _globals['_PARSESTATESUMMARYREQUEST']._serialized_end=6265
  _globals['_PARSESTATESUMMARYRESPONSE']._serialized_start=6267
  _globals['_PARSESTATESUMMARYRESPONSE']._serialized_end=6369
  _globals['_GETSTATESUMMARYREQUEST']._serialized_start=6371
  _globals['_GETSTATESUMMARYREQUEST']._serialized_end=6419
  _globals['_GETSTATESUMMARYRESPONSE']._serialized_start=6421
  _globals['_GETSTATESUMMARYRESPONSE']._serialized_end=6519
  _globals['_STATESUMMARYACCEPTREQUEST']._serialized_start=6521
  _globals['_STATESUMMARYACCEPTREQUEST']._serialized_end=6570
  _globals['_STATESUMMARYACCEPTRESPONSE']._serialized_start=6573
  _globals['_STATESUMMARYACCEPTRESPONSE']._serialized_end=6782
  _globals['_STATESUMMARYACCEPTRESPONSE_MODE']._serialized_start=6701
  _globals['_STATESUMMARYACCEPTRESPONSE_MODE']._serialized_end=6782
  _globals['_VM']._serialized_start=7190
  _globals['_VM']._serialized_end=9862
# @@protoc_insertion_point(module_scope)
