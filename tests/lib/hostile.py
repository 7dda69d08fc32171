#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostile.py MODE [PORT]: a server that means no good, on a port that it prints.

lines    lines without end before the version line
line     one line without end
slow     a proxy to PORT that passes one byte a second to the client
corrupt  a proxy to PORT that flips a bit of what the client gets, once it is some 4 KiB
halt     a proxy to PORT that after 4 KiB passes nothing any more and closes nothing
"""

import asyncio
import sys

MODE = sys.argv[1]
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 0
TURNING_POINT = 4096


async def flood(writer, chunk):
    while True:
        writer.write(chunk)
        await writer.drain()


async def pass_on(reader, writer, is_to_client):
    passed = 0
    while data := await reader.read(1 if MODE == "slow" and is_to_client else 65536):
        if is_to_client and MODE == "slow":
            await asyncio.sleep(1)
        if is_to_client and passed + len(data) > TURNING_POINT:
            if MODE == "halt":
                await asyncio.sleep(3600)
            if MODE == "corrupt" and passed <= TURNING_POINT:
                data = data[:-1] + bytes([data[-1] ^ 1])
        passed += len(data)
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(reader, writer):
    try:
        if MODE == "lines":
            await flood(writer, b"x" * 60 + b"\r\n")
        elif MODE == "line":
            await flood(writer, b"x" * 4096)
        else:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", PORT)
            await asyncio.gather(
                pass_on(reader, far_writer, False), pass_on(far_reader, writer, True)
            )
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
