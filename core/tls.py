"""The one TLS context of the process: to make one is to read all certificate authorities, some 30 ms of a core."""

import ssl
from functools import cache

import httpx


@cache
def tls_context() -> ssl.SSLContext:
    """For the `verify` of an HTTP client: the environment's authorities, as httpx finds them, else certifi's."""
    return httpx.create_ssl_context()
