#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""varlink.py SOCKET METHOD [PARAMETERS [FLAG]]: calls a method, and prints each reply on a line.

A client that owes nothing to jobd: what it needs to know of Varlink are these lines. FLAG: more,
oneway. PARAMETERS "-": each line of standard input is those of a call, all on one connection.
"""

import json
import socket
import sys


def replies(service):
    buffer = b""
    while more := service.recv(65536):
        *messages, buffer = (buffer + more).split(b"\0")
        for message in messages:
            yield message.decode()
            if not json.loads(message).get("continues"):
                return


path, method, *rest = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as service:
    service.connect(path)
    for parameters in sys.stdin if rest[:1] == ["-"] else rest[:1] or [None]:
        call = {"method": method}
        if parameters:
            call["parameters"] = json.loads(parameters)
        for flag in rest[1:]:
            call[flag] = True
        service.sendall(json.dumps(call).encode() + b"\0")
        if "oneway" in call:
            service.shutdown(socket.SHUT_WR)
        for reply in replies(service):
            print(reply, flush=True)
