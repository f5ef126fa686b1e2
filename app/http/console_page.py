"""`/console`: the operators' page. It holds no data; what it shows, it asks for with a token."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from mimetypes import guess_type

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.http.security_headers import page_headers

_STATIC = files("app.console") / "static"
_PAGE = "index.html"
_HEADERS = {
    **page_headers(),
    # Kept, but asked about each time: after an upgrade nobody has a mixture of two releases.
    "Cache-Control": "no-cache",
}
_SUFFIXES = (".html", ".js", ".css", ".svg")


@cache
def console_router() -> APIRouter:
    """Routes under /console, which the OpenAPI document leaves out."""
    router = APIRouter(prefix="/console", include_in_schema=False)

    @router.get("")
    async def get_page(request: Request) -> Response:
        return await _answer(request, _PAGE)

    @router.get("/vendor/{name}")
    async def get_vendored(request: Request, name: str) -> Response:
        return await _answer(request, "vendor", name)

    @router.get("/{name}")
    async def get_file(request: Request, name: str) -> Response:
        return await _answer(request, name)

    return router


async def _answer(request: Request, *path: str) -> Response:
    content = await run_in_threadpool(_read, *path)
    if content is None:
        raise HTTPException(404)
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {**_HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=guess_type(path[-1])[0], headers=headers)


def _read(*path: str) -> bytes | None:
    """A file's content; None for a name that is none of the page's files."""
    # A name can hold no slash here, and none that begins with a dot is served.
    if path[-1].startswith(".") or not path[-1].endswith(_SUFFIXES):
        return None
    file = _STATIC.joinpath(*path)
    return file.read_bytes() if file.is_file() else None
