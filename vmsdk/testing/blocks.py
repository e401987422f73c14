"""The blocks that a test has seen, with their status."""

from __future__ import annotations

from collections.abc import Callable

from vmsdk.host import block as host
from vmsdk.ids import ID


class Block:
    """A block of *tree*. Two are equal if their IDs are."""

    def __init__(self, tree: BlockTree, found: host.Block) -> None:
        self._tree = tree
        self.found = found
        """The block as the host knows it."""
        self.id: ID = found.id
        self.parent_id: ID = found.parent_id
        self.height: int = found.height
        self.timestamp = found.timestamp
        self.raw: bytes = found.raw

    @property
    def parent(self) -> Block:
        """The block that this one extends. Raises `LookupError` for the genesis block."""
        return self._tree.find(self.parent_id)

    @property
    def status(self) -> str:
        """One of "processing", "accepted" and "rejected"; "built" or "parsed" if it was never
        verified, "forgotten" if it was undecided at a restart.
        """
        return self._tree.status[self.id]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Block {self.height} {self.id} {self.status}>"


class BlockTree:
    """The blocks by their ID. *find* returns a block that may not be in the tree yet."""

    def __init__(self, find: Callable[[ID], Block]) -> None:
        self.find = find
        self.blocks: dict[ID, Block] = {}
        self.status: dict[ID, str] = {}
        """See `Block.status`."""

    def add(self, found: host.Block, status: str) -> Block:
        """Return a block, with this status if it is new."""
        self.status.setdefault(found.id, status)
        return self.blocks.setdefault(found.id, Block(self, found))

    def set_status(self, found: host.Block, status: str) -> Block:
        """Set the status of a block, and return it."""
        self.status[found.id] = status
        return self.add(found, status)

    def forget_undecided(self) -> None:
        """Record that a restart has made the VM forget its undecided blocks."""
        for block_id, status in self.status.items():
            if status == "processing":
                self.status[block_id] = "forgotten"

    def accepted(self) -> list[Block]:
        """Return the accepted blocks by height."""
        found = [block for block in self.blocks.values() if block.status == "accepted"]
        return sorted(found, key=lambda block: block.height)

    def text(self, preferred: ID | None) -> str:
        """Return the tree as text, with the status of each block. *preferred* is marked."""
        children: dict[ID, list[Block]] = {}
        for block in sorted(self.blocks.values(), key=lambda each: each.height):
            children.setdefault(block.parent_id, []).append(block)
        roots = [block for block in self.blocks.values() if block.parent_id not in self.blocks]
        lines: list[str] = []

        def draw(block: Block, indent: str) -> None:
            mark = ", preferred" if block.id == preferred else ""
            lines.append(f"{indent}{block.height} {block.id} {block.status}{mark}")
            following = children.get(block.id, [])
            for child in following:
                draw(child, indent + ("  " if len(following) > 1 else ""))

        for root in roots:
            draw(root, "")
        return "\n".join(lines)
