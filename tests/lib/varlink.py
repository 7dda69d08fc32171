#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""varlink.py SOCKET METHOD [PARAMETERS [FLAG]]: calls a method, and prints each reply on a line.

A client that owes nothing to jobd: what it needs to know of Varlink are these lines. FLAG: more,
oneway.
"""

import json
import socket
import sys

path, method, *rest = sys.argv[1:]
call = {"method": method}
if rest:
    call["parameters"] = json.loads(rest[0])
for flag in rest[1:]:
    call[flag] = True
with socket.socket(socket.AF_UNIX) as service:
    service.connect(path)
    service.sendall(json.dumps(call).encode() + b"\0")
    if "oneway" in call:
        service.shutdown(socket.SHUT_WR)
    buffer = b""
    while more := service.recv(65536):
        *messages, buffer = (buffer + more).split(b"\0")
        for message in messages:
            print(message.decode(), flush=True)
            if not json.loads(message).get("continues"):
                sys.exit()
