"""One request to an endpoint, within a time limit and a size limit; every failure is one line."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import orjson

from app.reranking.backend import Endpoint
from app.reranking.job import RerankError
from model_store.redaction import redact_urls, redacted
from model_store.texts import first_line

MAX_ANSWER_BYTES = 1024 * 1024
_EXCERPT_CHARACTERS = 120
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class RejectedRequest(RerankError):  # noqa: N818 - names its subject
    """The endpoint understood the request and rejects it: status 400 or 422."""


class HttpEndpoint:
    """Posts JSON to an endpoint.

    Args:
        endpoint: its URL may be that of the server, of its `/v1`, or the whole address.
        path: of the call below `/v1`, as in "completions".
    """

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        self._url = endpoint_url(endpoint.url, path)
        self._key = endpoint.key
        self._timeout_s = endpoint.timeout_s
        self._name = f"endpoint {redacted(str(self._url))}"
        self._client = httpx.AsyncClient(
            timeout=endpoint.timeout_s,
            headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
            follow_redirects=False,
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
        async with self._client.stream("POST", self._url, json=document) as response:
            content = b""
            async for part in response.aiter_bytes():
                content += part
                if len(content) > MAX_ANSWER_BYTES:
                    raise self._error(f"its answer is longer than {MAX_ANSWER_BYTES:,} bytes")
        if response.status_code != httpx.codes.OK:
            kind = RejectedRequest if response.status_code in (400, 422) else RerankError
            raise self._error(f"status {response.status_code}: {_excerpt(content)}", kind)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            raise self.malformed(f"is not JSON: {_excerpt(content)}") from None

    def _error(self, reason: str, kind: type[RerankError] = RerankError) -> RerankError:
        reason = redact_urls(reason)
        if self._key:  # some servers repeat it
            reason = reason.replace(self._key, "***")
        return kind(f"{self._name}: {reason}")


def endpoint_url(url: str, path: str) -> httpx.URL:
    """The address of a call: `path` below `/v1`, unless the URL names it already."""
    parsed = httpx.URL(url)
    given = parsed.path.rstrip("/")
    if not given.endswith(f"/{path}"):
        given += f"/{path}" if re.search(r"/v\d+$", given) else f"/v1/{path}"
    return parsed.copy_with(path=given)


def _excerpt(content: bytes) -> str:
    text = _CONTROL.sub(" ", content.decode("utf-8", "replace"))
    return " ".join(text.split())[:_EXCERPT_CHARACTERS] or "(empty)"
