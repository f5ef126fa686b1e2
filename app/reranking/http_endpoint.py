"""One request to an endpoint, within a time limit and a size limit; every failure is one line."""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from typing import Any

import httpx
import orjson

from app.reranking.backend import Endpoint
from app.reranking.job import RerankError
from model_store.endpoint_access import EndpointAccess, describe_redirect
from model_store.endpoint_problem import EndpointProblem
from model_store.texts import first_line

MAX_ANSWER_BYTES = 1024 * 1024
_MESSAGE_CHARACTERS = 200
STALE = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


@cache
def _tls_context() -> ssl.SSLContext:
    """What httpx would create for each client: to read the certificates takes some ten ms."""
    return httpx.create_ssl_context()


class RejectedRequest(RerankError):  # noqa: N818 - names its subject
    """The endpoint understood the request and rejects it: status 400 or 422."""


class HttpEndpoint:
    """Posts JSON to an endpoint.

    Args:
        endpoint: its URL may be that of the server, of its `/v1`, or the whole address.
        path: of the call below `/v1`, as in "completions".

    Raises:
        ConfigError: its URL is no http address, or its key can't stand in a header.
    """

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        self._access = EndpointAccess(endpoint.url, path, endpoint.key)
        self._timeout_s = endpoint.timeout_s
        self._client = httpx.AsyncClient(
            timeout=endpoint.timeout_s,
            headers=self._access.headers,
            follow_redirects=False,
            verify=_tls_context(),
        )

    async def post(self, document: dict[str, Any]) -> Any:
        """The JSON document in the answer.

        Raises:
            RejectedRequest: status 400 or 422.
            RerankError: anything else that is no such document, or comes too late.
        """
        try:
            # httpx limits single reads; this limits the whole, however slowly bytes drip in.
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(document)
        except TimeoutError:
            raise self._error(f"no answer in {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            kind = type(error).__name__
            raise self._error(f"{kind}: {first_line(error)}") from None

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    def malformed(self, reason: str) -> RerankError:
        """The error for a document that is not the expected one."""
        return self._error(f"its answer {reason}")

    async def _exchange(self, document: dict[str, Any]) -> Any:
        while True:
            asked = self._access.url
            response, content = await self._send(asked, document)
            if response.status_code == httpx.codes.OK:
                break
            problem = EndpointProblem.of(response.status_code, content)
            location = response.headers.get("location")
            if not self._access.moves_on(asked, problem.status, location, problem.message):
                where = f"; {describe_redirect(location)}" if problem.status // 100 == 3 else ""
                kind = RejectedRequest if problem.status in (400, 422) else RerankError
                raise self._error(f"{problem}{where}", kind)
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError:
            reason = EndpointProblem.of(response.status_code, content).message
            raise self.malformed(f"is not JSON: {reason}") from None
        self._access.confirm()
        return found

    async def _send(self, url: str, document: dict[str, Any]) -> tuple[httpx.Response, bytes]:
        try:
            return await self._send_once(url, document)
        except STALE:
            # The server had closed the connection that was kept from an earlier request, as it may
            # at any moment; asking twice for scores does no harm.
            return await self._send_once(url, document)

    async def _send_once(self, url: str, document: dict[str, Any]) -> tuple[httpx.Response, bytes]:
        async with self._client.stream("POST", url, json=document) as response:
            content = b""
            async for part in response.aiter_bytes():
                content += part
                if len(content) > MAX_ANSWER_BYTES:
                    raise self._error(f"its answer is longer than {MAX_ANSWER_BYTES:,} bytes")
        return response, content

    def _error(self, reason: str, kind: type[RerankError] = RerankError) -> RerankError:
        line = " ".join(self._access.hide(reason).split())
        return kind(f"{self._access.name}: {line[:_MESSAGE_CHARACTERS]}")
