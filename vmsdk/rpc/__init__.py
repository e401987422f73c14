"""The VM's side of the wire: gRPC calls in, the author's methods, gRPC responses out."""
