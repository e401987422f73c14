"""HTTP/2 (RFC 9113) as far as unary gRPC needs it, on blocking sockets. It carries engine calls and
calls to the node's services.

grpcio's C core wakes several threads for a call. Here, the thread that reads a call runs it, and
the thread that makes a call reads the response (docs/performance.md has the figures).
"""
