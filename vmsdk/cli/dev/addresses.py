"""How people reach a VM's handlers: the paths and the commands that `vmsdk dev` shows."""

from __future__ import annotations

from collections.abc import Sequence

from vmsdk.host.http.routes import compile_template, without_patterns

_JSON_RPC = '{"jsonrpc":"2.0","id":1,"method":"METHOD","params":{}}'


def path_to_open(prefix: str) -> str:
    """A path that *prefix*, which a node would serve, matches: of a template the one below which its app is.

    A template that needs more than its constant part is given back with nothing but names for what varies.
    """
    template = compile_template(prefix)
    constant = prefix.partition("{")[0]
    for path in (constant.rstrip("/") + "/", constant):
        if template.fullmatch(path):
            return path
    return without_patterns(prefix)


def example_calls(chain_url: str, prefixes: Sequence[str]) -> str:
    """Commands to copy, each on a line; empty if whoever calls must know more than the prefixes.

    What a handler speaks can't be seen from here, and to ask it would be a call that nobody made. But a
    JSON-RPC service has one path, so behind a template there is none.
    """
    paths = [path for path in map(path_to_open, prefixes) if "{" not in path]
    lines = [f"curl {chain_url}{path}" for path in paths[:1]]
    exact = [prefix for prefix in prefixes if "{" not in prefix]
    for path in exact[:1]:
        lines.append("or, if it speaks JSON-RPC:")
        lines.append(f"curl -H 'content-type: application/json' {chain_url}{path} -d '{_JSON_RPC}'")
    return "\n".join(lines)
