"""A chain's path routes: which prefixes a node takes, and which paths they match.

A node hands each `/ext/bc/<chain><prefix>` to gorilla/mux as a template: it matches the whole path,
`{name}` is one segment of any text, `{name:pattern}` what the regular expression says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vmsdk.host.http.url import MalformedURL, parse_request_uri

# Go's spelling of text boundaries; its "$" never stands before a final line break, Python's does.
_GO_END = re.compile(r"(?<!\\)\$$")


class RouteRefused(ValueError):
    """A prefix that a node does not serve. *prefix* is the VM's text, *reason* says which rule it breaks."""

    def __init__(self, prefix: str, reason: str) -> None:
        self.prefix = prefix
        self.reason = reason
        super().__init__(f"could not add route to chain's API handler: {reason}")


def check_prefix(prefix: str) -> None:
    """Raises `RouteRefused` unless *prefix* is empty or a request target, as a node wants it."""
    if not prefix:
        return
    try:
        parse_request_uri(prefix)
    except MalformedURL as error:
        raise RouteRefused(prefix, f"route is malformed: {error}") from None


def compile_template(prefix: str) -> re.Pattern[str]:
    """What follows the chain in a path that *prefix* matches.

    Raises `RouteRefused` for a template that on a node never matches, or ends it: unbalanced braces, no
    name or no pattern, a name given twice, a pattern that is none or holds a capturing group.
    """
    pattern, end = "", 0
    names: set[str] = set()
    for start, stop in _variables(prefix):
        name, colon, expression = prefix[start + 1 : stop - 1].partition(":")
        if not name or (colon and not expression):
            raise RouteRefused(prefix, f'mux: missing name or pattern in "{prefix[start:stop]}"')
        if name in names:
            raise RouteRefused(prefix, f'mux: duplicated route variable "{name}"')
        names.add(name)
        pattern += re.escape(prefix[end:start]) + f"(?:{_checked(prefix, expression or '[^/]+')})"
        end = stop
    return re.compile(pattern + re.escape(prefix[end:]))


def without_patterns(template: str) -> str:
    """*template* with `{name}` in place of `{name:pattern}`. Raises `RouteRefused` for unbalanced braces."""
    text, end = "", 0
    for start, stop in _variables(template):
        name = template[start + 1 : stop - 1].partition(":")[0]
        text += f"{template[end:start]}{{{name}}}"
        end = stop
    return text + template[end:]


def _variables(prefix: str) -> Iterator[tuple[int, int]]:
    """Where each outermost pair of braces begins and ends."""
    level = start = 0
    for index, character in enumerate(prefix):
        if character == "{":
            if level == 0:
                start = index
            level += 1
        elif character == "}":
            level -= 1
            if level < 0:
                break
            if level == 0:
                yield start, index + 1
    if level:
        raise RouteRefused(prefix, f'mux: unbalanced braces in "{prefix}"')


def _checked(prefix: str, expression: str) -> str:
    expression = _GO_END.sub(r"\\Z", expression)
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise RouteRefused(prefix, f"error parsing regexp: {error}") from None
    if compiled.groups:
        raise RouteRefused(
            prefix,
            f"route {prefix} contains capture groups in its regexp. Only non-capturing groups are "
            "accepted: e.g. (?:pattern) instead of (pattern)",
        )
    return expression
