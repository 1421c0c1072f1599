"""Interleaved comparisons of the proxy and the server with real peers (docs/performance.md)."""
