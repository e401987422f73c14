"""A plugin that writes lines, broken UTF-8, an endless line and an unfinished one, then crashes."""

from __future__ import annotations

import os

os.write(1, "grüße\r\nzwei".encode())
os.write(1, b"\n\xff\xfe broken\n")
os.write(2, b"x" * 200_000 + b"\nunfinished")
os._exit(3)
