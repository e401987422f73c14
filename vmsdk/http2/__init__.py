"""HTTP/2 (RFC 9113) as unary gRPC needs it, on blocking sockets: what the engine's calls and the
node's services stand on.

A call of grpcio's C core wakes several threads; here the thread that reads a call runs it, and the
thread that makes a call reads its response (docs/performance.md has the figures).
"""
