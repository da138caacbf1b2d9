#!/usr/bin/env python3
"""forward.py LISTEN SERVER...   forward TCP connections to the first server that answers

All are HOST:PORT. What a cluster with several control planes has in front of them
where nobody wants kube-vip: a small HAProxy.
"""

import asyncio
import sys


async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def handler(servers):
    async def handle(reader, writer):
        for server in servers:
            try:
                host, port = server.rsplit(":", 1)
                up = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 3)
            except (OSError, TimeoutError, asyncio.TimeoutError):
                continue
            await asyncio.gather(copy(reader, up[1]), copy(up[0], writer))
            return
        writer.close()

    return handle


async def main(listen, servers):
    host, port = listen.rsplit(":", 1)
    server = await asyncio.start_server(handler(servers), host, int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
