"""The plugin's gRPC side: protobuf in, calls of the author's VM, protobuf out."""
