"""The service that a request came to.

FastAPI takes most of a millisecond to analyse a route. Those of operators hold no service, so that
they are analysed once for all services of a process.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.service import Service


async def _service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ThisService = Annotated[Service, Depends(_service_of)]
"""Of a route: the service of the application that answers."""
