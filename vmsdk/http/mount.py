"""A key of `create_handlers`, where an app is mounted: its rules, and the paths that it matches."""

from __future__ import annotations

import re

from vmsdk.errors import VMError

# Source: the node's api/server (a base of /ext, then "bc/" and the chain's ID or alias).
_CHAIN = re.compile(r"/ext/bc/[^/]+")


class InvalidPrefix(VMError, ValueError):
    """A key of `create_handlers` that a node would refuse or never route a request to."""

    def __init__(self, prefix: object, reason: str) -> None:
        self.prefix = prefix
        self.reason = reason
        super().__init__(f"create_handlers() has the prefix {prefix!r}: {reason}")


def subpaths(prefix: str) -> str:
    """The key of `create_handlers` for *prefix* and every path below it.

    The node matches a path as a whole, but accepts templates: `subpaths("/api")` is
    `/api{path:|/.*}`. `subpaths("")` covers everything below the chain, `/ext/bc/<chain>/…`: mount
    `""` too if `/ext/bc/<chain>` itself should respond. Raises `InvalidPrefix`.
    """
    trimmed = prefix.rstrip("/")
    Mount(trimmed)
    return trimmed + "{path:|/.*}" if trimmed else "/{path:.*}"


class Mount:
    """One key of `create_handlers`. Raises `InvalidPrefix`."""

    def __init__(self, prefix: str) -> None:
        if not isinstance(prefix, str):
            raise InvalidPrefix(prefix, "a prefix is a str")
        if prefix and not prefix.startswith("/"):
            raise InvalidPrefix(prefix, f"a prefix is empty or starts with a slash: write {'/' + prefix!r}")
        if not prefix.isprintable() or " " in prefix:
            raise InvalidPrefix(prefix, "the node refuses spaces and control characters in a prefix")
        constant = prefix.split("{")[0]
        if constant.startswith("//") or "?" in constant or "#" in constant:
            raise InvalidPrefix(prefix, "a prefix is a path, without a host or a query")
        self.prefix = prefix
        """The key. The node reads it as a template of gorilla/mux: `{name}` matches one segment,
        `{name:pattern}` what the pattern matches."""
        self.is_template = "{" in prefix
        """Whether it may match more than one path."""
        self.base = constant.rstrip("/") if self.is_template else prefix
        """What each path of the mount begins with, after the chain's part."""
        self._pattern = _compile(prefix)

    def matches(self, path: str) -> bool:
        """Whether the node would route *path*, without the chain's part, to this mount."""
        return self._pattern.fullmatch(path) is not None

    def root_path(self, path: str) -> str:
        """The part of *path* that is not the app's: the chain's and the prefix's constant part.

        Empty when the path does not lead through the mount, as in header-routed requests.
        """
        found = _CHAIN.match(path)
        if found is None:
            return ""
        root = found.group() + self.base.rstrip("/")
        if not path.startswith(root) or path[len(root) : len(root) + 1] not in ("", "/"):
            return ""
        return root


def _compile(prefix: str) -> re.Pattern[str]:
    """The template *prefix* as a regular expression."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(prefix):
        if character == "{":
            depth += 1
            if depth == 1:
                parts.append(re.escape(prefix[start:at]))
                start = at + 1
        elif character == "}":
            depth -= 1
            if depth < 0:
                break
            if depth == 0:
                _, colon, pattern = prefix[start:at].partition(":")
                parts.append(f"(?:{pattern if colon else '[^/]+'})")
                start = at + 1
    if depth:
        raise InvalidPrefix(prefix, "its braces don't match")
    try:
        return re.compile("".join(parts) + re.escape(prefix[start:]))
    except re.error as error:
        raise InvalidPrefix(prefix, f"the pattern in its braces is not valid: {error}") from None


def prefix_of(path: str) -> str | None:
    """*path* without the chain's part; None if it has none."""
    found = _CHAIN.match(path)
    return None if found is None else path[found.end() :]
