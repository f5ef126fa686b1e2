"""Routes for operators: a person's history and recommendations, and the catalogue."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from app.http.json_response import JsonResponse
from app.http.openapi import problems_of
from app.http.problems import Problem
from app.http.request_id import REQUEST_ID
from app.http.requests import RecommendRequest
from app.http.responses import FoundItems, HistoryOfUser, RecommendResponse
from app.http.this_service import ThisService
from app.model.background import BackgroundThread
from app.model.catalogue_search import find_items
from app.model.model import Model
from app.recommend.pipeline import recommend
from app.service import Service
from model_store.knowledge_texts import FIELD

_UserId = Annotated[str, Path(min_length=1, max_length=512)]
_Limit = Annotated[int, Query(ge=1, le=1_000, description="Number of items to return.")]


def add_console_routes(router: APIRouter) -> None:
    """Add them to the admin router, whose prefix and checks they share."""

    @router.get(
        "/users/{user_id:path}/history",
        summary="A user's items, newest first",
        response_class=JsonResponse,
        responses={200: {"model": HistoryOfUser}},
    )
    async def get_user_history(
        service: ThisService, user_id: _UserId, limit: _Limit = 50
    ) -> Response:
        model = service.answering.model()
        [history] = await service.store.features.read_histories(
            [user_id], model.version, model.ids, reading=model.events
        )
        newest = history.items[::-1][:limit].tolist()
        return JsonResponse(
            {
                "user_id": user_id,
                "model_version": model.version,
                "n_items": len(history.items),
                "n_unknown": history.n_unknown,
                "is_complete": history.is_complete,
                "items": [
                    {"item_id": model.ids.id_of(index), "title": model.title_of(index)}
                    for index in newest
                ],
            }
        )

    @router.get(
        "/users/{user_id:path}/recommendations",
        summary="A user's recommendations under a version that is loaded, with reasons",
        response_class=JsonResponse,
        responses={200: {"model": RecommendResponse}, **problems_of(409)},
    )
    async def get_user_recommendations(
        request: Request,
        service: ThisService,
        user_id: _UserId,
        version: Annotated[
            str | None,
            Query(
                max_length=64,
                description="Unless given, the one that answers this user, as in the user's arm.",
            ),
        ] = None,
        k: Annotated[
            int | None, Query(ge=1, le=100, description="Unless given, that of the arm, or 10.")
        ] = None,
    ) -> Response:
        request_id = request.scope[REQUEST_ID]
        arm = None
        if version is None:
            routing = service.answering.routing()
            arm = routing.arm_for(user_id, request_id)
            model = routing.model_for(user_id, request_id, arm)
        else:
            model = _find_model(service, version)
        fields = [name for name in ("title", FIELD) if name in model.field_kinds]
        given = {"user_id": user_id, "explain": True, "fields": fields}
        asked = RecommendRequest.model_validate(given if k is None else {**given, "k": k})
        if arm is not None:
            asked = asked.in_arm(arm.name, arm.defaults)
        [answer] = await recommend(
            [asked], model, service.store.features, service.runner, service.reranker
        )
        if arm is not None:
            answer["arm"] = arm.name
        return JsonResponse({**answer, "request_id": request_id})

    @router.get(
        "/items",
        summary="Items of the active version by a part of their title, or by their id",
        response_class=JsonResponse,
        responses={200: {"model": FoundItems}},
    )
    async def search_items(
        service: ThisService,
        q: Annotated[str, Query(min_length=1, max_length=200)],
        limit: _Limit = 20,
    ) -> Response:
        model = service.answering.model()
        # Titles of a large catalogue take a while, in which requests go first.
        thread = BackgroundThread("catalogue search", yields=True)
        try:
            found = await thread.run(lambda: find_items(model, q, limit))
        finally:
            thread.stop(0)
        return JsonResponse(
            {
                "model_version": model.version,
                "n_matches": found.n_matches,
                "items": [
                    {
                        "item_id": model.ids.id_of(index),
                        "title": model.title_of(index),
                        "fields": model.fields_of(index, tuple(model.field_kinds)),
                    }
                    for index in found.items
                ],
            }
        )


def _find_model(service: Service, version: str) -> Model:
    model = service.models.find(version)
    if model is None:
        loaded = ", ".join(service.models.loaded) or "none"
        raise Problem(
            409,
            f"version {version!r} is not loaded in this worker (loaded: {loaded}); "
            "make it the shadow or the canary to see its answers",
        )
    return model
