"""Which of several mounted apps a path belongs to, where the node cannot tell."""

from __future__ import annotations

from vmsdk.http.mount import Mount, prefix_of
from vmsdk.rpc.http.site import Site


class Routes:
    """All mounted apps.

    A node registers the prefixes of a chain in random order, and takes the first that matches. So with
    a template among them, such as `/{path:.*}`, a request for `/rpc` may reach the wrong server.
    """

    def __init__(self) -> None:
        self._exact: dict[str, Site] = {}
        self._templates: list[tuple[Mount, Site]] = []

    def add(self, site: Site) -> None:
        """Take note of one more app."""
        mount = site.mount
        if mount is None:
            return
        if mount.is_template:
            self._templates.append((mount, site))
            self._templates.sort(key=lambda each: len(each[0].base), reverse=True)
        else:
            self._exact[mount.prefix] = site

    def site_for(self, path: str, reached: Site) -> Site:
        """The app that *path* belongs to: an exact prefix before a template, a longer one before a shorter.

        *reached* is the one whose server the node chose.
        """
        if reached.mount is None or not reached.mount.is_template:
            return reached
        prefix = prefix_of(path)
        if prefix is None:
            return reached
        exact = self._exact.get(prefix)
        if exact is not None:
            return exact
        return next((site for mount, site in self._templates if mount.matches(prefix)), reached)
