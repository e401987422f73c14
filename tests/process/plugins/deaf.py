"""A plugin that closes a stream after its announcement, or ignores SIGTERM: deaf.py VERSION WHAT…"""

import os
import signal
import sys

from bare_vm import BareVM, handshake, serve

version, *what = sys.argv[1:]
if "ignore" in what:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server, address = serve(BareVM())
handshake(address, int(version))
for descriptor in (1, 2):
    if f"close{descriptor}" in what:
        os.close(descriptor)
signal.pause()
