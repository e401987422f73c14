"""The format of an executable, by its first bytes."""

from __future__ import annotations

import platform
import shlex
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

_MACHINES = {3: "i386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
# Values of e_type.
_OBJECT, _SHARED, _CORE = 1, 3, 4
# For 32 bits; the one for 64 bits is longer.
_ELF_HEADER_BYTES = 52
_UNPACK = "unpack it, and put only the plugin's executable here"
_REBUILD = "build the plugin for this machine"
_EXECUTABLE = "put the plugin's executable here"
_COPY = "copy it again, and compare its checksum"
_ENCODING = "save it as UTF-8 without BOM"
# What people put into plugin directories by mistake, by its first bytes.
_NO_PROGRAMS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run git lfs pull, and copy it"),
    (b"<!DOCTYPE", "a web page, not a program", "download the plugin itself again"),
    (b"<html", "a web page, not a program", "download the plugin itself again"),
    (b"<?xml", "XML, as of a failed download", "download the plugin again"),
    (b"{", "JSON, as of a failed download", "download the plugin again"),
    (b"Not Found", "the text of a failed download", "download the plugin again"),
    (b"-----BEGIN", "a key or a certificate", _EXECUTABLE),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip archive", _UNPACK),
    (b"!<arch>", "a Debian package or a static library", _UNPACK),
    (b"\xed\xab\xee\xdb", "an RPM package", _UNPACK),
    (b"PK\x03\x04", "a zip archive", "unpack it, or give it a #! line and the permission to execute"),
    (b"\0asm", "WebAssembly", _REBUILD),
    (b"MZ", "a program for Windows", _REBUILD),
    (b"\xcf\xfa\xed\xfe", "a program for macOS", _REBUILD),
    (b"\xca\xfe\xba\xbe\0\0\0", "a program for macOS or a class of Java", _REBUILD),
    (b"%PDF-", "a PDF document", _EXECUTABLE),
    (b"\x89PNG", "an image", _EXECUTABLE),
    (b"SQLite format 3", "a database of SQLite", _EXECUTABLE),
    (b"\xef\xbb\xbf", "text that begins with a byte order mark, so the kernel finds no #!", _ENCODING),
    (b"\xff\xfe", "text in UTF-16, so the kernel finds no #!", _ENCODING),
    (b"\xfe\xff", "text in UTF-16, so the kernel finds no #!", _ENCODING),
)
_TAR = slice(257, 262)


def causes(head: bytes, path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield why the kernel does not know the format of the file *path*, which begins with *head*.

    Each is a code, what is wrong, and the cure.
    """
    if not head:
        yield "empty", "this file is empty", "copy or install the plugin again (was the disk full?)"
    elif not any(head):
        yield "format", "this file begins with zero bytes: it is damaged, or its copy is not complete", _COPY
    if head.startswith(b"\x7fELF"):
        yield from _elf_causes(head)
    for magic, kind, cure in _NO_PROGRAMS:
        if head.startswith(magic) or (head[:1] == b"<" and head.lower().startswith(magic.lower())):
            yield "format", f"this is {kind}", cure
    if head[_TAR] == b"ustar":
        yield "format", "this is a tar archive", _UNPACK
    if head[2:4] == b"\r\n" and b"\0" in head[:16]:
        cure = "vmsdk install its source, the .py file, or begin a script with a #! line"
        yield "format", "this is compiled Python (.pyc), which a node can't execute", cure
    if b"\0" not in head[:1024]:
        cure = "begin it with a #! line, such as #!/usr/bin/env python3"
        if b"vmsdk" in head and b"import" in head:
            cure += f", or install the VM: vmsdk install {shlex.quote(str(path))} --plugin-dir DIR"
        yield "no-shebang", "this script has no #! line, so the kernel can't execute it", cure
    yield (
        "format",
        "this is not a program that this system can execute",
        f"build the plugin for {sys.platform} on {platform.machine()}",
    )


def _elf_causes(head: bytes) -> Iterator[tuple[str, str, str]]:
    damaged = "format", "this program is damaged or cut short", _COPY
    if len(head) < _ELF_HEADER_BYTES:
        yield damaged
    built, here = _elf_machine(head), platform.machine()
    kind = int.from_bytes(head[16:18], _order(head))
    if kind == _CORE:
        yield "format", "this is the core dump of a crashed program", _EXECUTABLE
    if built != here:
        yield (
            "architecture",
            f"this program is for {built}, and this machine is {here}",
            f"build it for {here}",
        )
    if kind == _OBJECT:
        yield "format", "this is an object file, not a program", "link it: cc without -c, go build -o FILE ."
    yield damaged


def _order(head: bytes) -> Literal["big", "little"]:
    return "big" if head[5:6] == b"\x02" else "little"


def _elf_machine(head: bytes) -> str:
    order = _order(head)
    number = int.from_bytes(head[18:20], order)
    name = _MACHINES.get(number, f"machine {number}")
    return "ppc64le" if name == "ppc64" and order == "little" else name


def is_library(head: bytes) -> bool:
    """Return whether an ELF file may be a shared library, or is a static program like one."""
    kind = int.from_bytes(head[16:18], _order(head))
    return head.startswith(b"\x7fELF") and kind == _SHARED and elf_interpreter(head) is None


def elf_interpreter(head: bytes) -> str | None:
    """Return the dynamic loader that an ELF file asks for; None if it is static, or not ELF."""
    if not head.startswith(b"\x7fELF") or len(head) < 64:
        return None
    order = ">" if head[5] == 2 else "<"
    # The offsets of e_phoff, e_phentsize, p_offset and p_filesz, in 64 and in 32 bits.
    at_table, table, at_sizes, at_segment, segment = (
        (32, "Q", 54, 8, "Q16xQ") if head[4] == 2 else (28, "I", 42, 4, "I8xI")
    )
    (offset,) = struct.unpack_from(order + table, head, at_table)
    size, count = struct.unpack_from(f"{order}HH", head, at_sizes)
    for at in range(offset, offset + size * count, size or 1):
        if at + 40 > len(head):
            return None
        if struct.unpack_from(f"{order}I", head, at)[0] == 3:  # PT_INTERP
            start, length = struct.unpack_from(order + segment, head, at + at_segment)
            return head[start : start + length].rstrip(b"\0").decode("utf-8", "replace") or None
    return None
