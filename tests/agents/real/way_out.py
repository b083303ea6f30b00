"""`python way_out.py PROXY PORT`: from a port of a sandbox's loopback to the same port of this machine.

Run in a sandbox of the Daytona emulator, whose proxy is the only way out; PROXY is its port.
"""

import asyncio
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:  # either side may hang up
        return
    finally:
        writer.close()


async def main(proxy: int, port: int) -> None:
    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection("127.0.0.1", proxy)
        asks.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        await answers.readuntil(b"\r\n\r\n")
        await asyncio.gather(pump(reader, asks), pump(answers, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
