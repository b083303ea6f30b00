"""The two ways through the sandbox's wall: its ports for previews, and the machine's network for its programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Set

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

TOOLBOX_PORT = 2280
"""Where, inside the sandbox, the daemon answers anybody, as Daytona's own does: it asks for no key."""

EGRESS_PORT = 3128
"""Where, inside the sandbox, programs find the forward proxy (HTTP_PROXY, HTTPS_PROXY)."""

HOP_BY_HOP = frozenset(
    {"connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers"}
    | {"transfer-encoding", "upgrade"}
)


async def forward_to_port(request: Request) -> Response:
    """Pass a preview request to the sandbox's own port."""
    client: httpx.AsyncClient = request.app.state.client
    _, _, _, *rest = request.scope["raw_path"].split(b"/", 3)
    return await relay(client, request, b"/" + b"".join(rest), base=f"http://127.0.0.1:{request.path_params['port']}")


async def relay(
    client: httpx.AsyncClient,
    request: Request,
    path: bytes,
    withheld: Set[str] = frozenset(),
    base: str = "",
    content: bytes | None = None,
) -> Response:
    """Send the request on to `path` with its method, query, body and headers, and stream the answer back.

    `withheld` are headers that are not passed on, `base` replaces the client's base URL, `content` the body. Where
    nothing listens the answer is 502 with an empty body, as from Daytona's own proxies.
    """
    query: bytes = request.scope["query_string"]
    url = httpx.URL(base or client.base_url).copy_with(raw_path=path + (b"?" + query if query else b""))
    drop = HOP_BY_HOP | withheld | (frozenset() if content is None else {"content-length"})
    streamed = request.stream() if _has_body(request) else None
    upstream = client.build_request(
        request.method,
        url,
        headers=[(name, value) for name, value in request.headers.items() if name not in drop],
        content=streamed if content is None else content,
    )
    try:
        answer = await client.send(upstream, stream=True)
    except (httpx.TransportError, RuntimeError):  # a RuntimeError is the client that was closed with its sandbox
        return Response(status_code=502)
    response = StreamingResponse(_body_of(answer), answer.status_code)
    response.raw_headers = [(k.lower(), v) for k, v in answer.headers.raw if k.lower().decode() not in HOP_BY_HOP]
    return response


async def _body_of(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


def _has_body(request: Request) -> bool:
    return "content-length" in request.headers or "transfer-encoding" in request.headers


async def serve_egress(socket_path: str) -> asyncio.Server:
    """Bridge the sandbox's proxy port to the emulator's forward proxy, which listens on a unix socket."""

    async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            proxy_reader, proxy_writer = await asyncio.open_unix_connection(socket_path)
        except OSError:
            writer.close()  # the emulator is going away, and this sandbox with it
            return
        await asyncio.gather(_pump(reader, proxy_writer), _pump(proxy_reader, writer))

    return await asyncio.start_server(bridge, "127.0.0.1", EGRESS_PORT)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass  # either end may hang up at any time
    finally:
        writer.close()


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
routes = [
    Route("/proxy/{port:int}", forward_to_port, methods=METHODS),
    Route("/proxy/{port:int}/{path:path}", forward_to_port, methods=METHODS),
]
