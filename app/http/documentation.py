"""`/docs`: the page that tries the API out, with everything it needs served from here."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from app.http.security_headers import page_headers

# Brought along by a package; FastAPI's own page has browsers fetch them from elsewhere.
_PACKAGE = "fastapi_offline"
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_PARAMETERS = {
    "persistAuthorization": True,  # a reload keeps the admin token
    "displayRequestDuration": True,
    "tryItOutEnabled": True,
    "defaultModelsExpandDepth": 0,
}


@cache
def documentation_router(title: str) -> APIRouter:
    """Routes under /docs, which the OpenAPI document leaves out."""
    router = APIRouter(prefix="/docs", include_in_schema=False)
    # Relative, so that the page works behind a proxy that adds a path.
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon.png",
        swagger_ui_parameters=_PARAMETERS,
    )
    # The one that starts it stands in the page.
    scripts = _INLINE_SCRIPT.findall(bytes(page.body).decode())
    page.headers.update(page_headers(*scripts, inline_styles=True))

    @router.get("")
    async def get_page() -> HTMLResponse:
        return page

    for name, media_type in _ASSETS.items():
        router.add_api_route(f"/{name}", _asset(name, media_type))
    return router


def _asset(name: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def get_asset() -> Response:
        content = await run_in_threadpool((files(_PACKAGE) / "static" / name).read_bytes)
        headers = {"Cache-Control": "max-age=86400"}
        return Response(content, media_type=media_type, headers=headers)

    return get_asset
