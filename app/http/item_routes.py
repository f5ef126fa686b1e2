"""Routes for operators: changes of items."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from app.http.openapi import problems_of, request_body
from app.http.operator_errors import asked
from app.http.parsing import parse_body, parse_items
from app.http.requests import ItemsRequest
from app.http.responses import ItemsChanged
from app.http.this_service import ThisService
from model_store.item_changes import ItemChange, check_changes


def add_item_routes(router: APIRouter) -> None:
    """Add them to the admin router, whose prefix and checks they share."""

    @router.put(
        "/items",
        summary="Withdraw items, let them come back, change their attributes",
        responses=problems_of(413, 415),
        openapi_extra=request_body(ItemsRequest),
    )
    async def change_items(request: Request, service: ThisService) -> ItemsChanged:
        body = await parse_body(request, parse_items)
        model = service.answering.model()
        changes = [ItemChange(one.item_id, one.available, one.attributes) for one in body.items]
        check_changes(changes, model.ids, model.attributes)
        n_changed = await asked(service.operations.change_items(changes))
        return ItemsChanged(items=len({one.item_id for one in changes}), changed=n_changed)
