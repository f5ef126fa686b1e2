"""The endpoints of nearly all traffic: recommend, ratings, batch, events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Sequence
from itertools import repeat
from typing import Any, TypeAlias

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.deployment.arms import RoutedArm
from app.deployment.exposure_log import ExposureLog
from app.deployment.routing import Routing
from app.http.caller_keys import N_REQUESTS
from app.http.json_response import JsonResponse
from app.http.middleware import ANSWERED_BY, Endpoint
from app.http.parsing import parse_batch, parse_body, parse_events, parse_ratings, parse_recommend
from app.http.problems import Problem, from_error
from app.http.request_id import REQUEST_ID
from app.http.requests import MAX_AHEAD_S, Event, RecommendRequest
from app.model.model import Model
from app.recommend.pipeline import recommend, recommend_each
from app.recommend.query import Query
from app.recommend.rating import predict_ratings
from app.recommend.weight import MAX_ITEMS_ON_LOOP
from app.service import Service
from app.telemetry.metrics import AnsweredBy, Marks
from model_store import codecs
from model_store.deployments import DEFAULT
from model_store.errors import InvalidField, LongtailError, NotReady, WrongKind
from model_store.event_rules import DEFAULT_EVENTS

_STAGES = ("features", "inference", "rerank", "total")
_SERVER_TIMING = ", ".join(f"{stage};dur=%({stage}).3f" for stage in _STAGES)
# As many are parsed in a fifth of a millisecond.
MANY_EVENTS = 100
# Of as many, with hundreds of items each, what was shown is noted in half a millisecond.
MANY_ANSWERS = 25
# Requests of a batch may hold thousands of texts each, which take as long to free as to parse.
MANY_REQUESTS = 64
Fault: TypeAlias = InvalidField | NotReady
"""Of one request of a batch."""
NO_TIMINGS = dict.fromkeys(_STAGES, 0.0)
"""Of a batch in which every request is wrong."""


def hot_endpoints(service: Service) -> dict[str, Endpoint]:
    """The endpoints of nearly all traffic, by path; all of them are POST."""
    models, store, metrics = service.models, service.store.features, service.metrics
    routings, routing_of = models.routings, service.answering.routing
    runner, reranker, shadow = service.runner, service.reranker, service.shadow
    exposure_log, explorer = service.exposure_log, service.explorer

    async def post_recommend(request: Request) -> Response:
        asked = await parse_body(request, parse_recommend)
        scope = request.scope
        routing = routings.find(asked.model) or routing_of(asked.model)
        arm = routing.arm_for(asked.user_id, scope[REQUEST_ID])
        model = routing.model_for(asked.user_id, scope[REQUEST_ID], arm)
        if arm is not None:
            asked = asked.in_arm(arm.name, arm.defaults)
        draws = None if explorer is None else explorer.draws_for(scope[REQUEST_ID])
        answering: Awaitable[Sequence[dict[str, Any]]]
        answering = recommend([asked], model, store, runner, reranker, draws)
        if routing.trial is not None:
            answering = service.canary_watch.observe(routing, model, asked, answering)
        [answer] = await answering
        answer["request_id"] = scope[REQUEST_ID]
        metrics.stages(answer["timings_ms"])
        # Nor would a shadow know what this person was answered before, or draw the same items.
        if (
            routing.shadow is not None
            and asked.exclude_served is None
            and "exploration" not in answer
        ):
            shadow.offer(routing.shadow, asked, model, answer)
        headers = _answer_headers(model.version, answer["timings_ms"])
        if arm is not None:
            _note_arm(routing, arm, answer)
            headers.append((b"x-arm", arm.name.encode()))
        if exposure_log is not None:
            _log_exposure(exposure_log, routing, answer)
        scope[ANSWERED_BY] = _count(answer, routing.name)
        return JsonResponse(answer, headers)

    async def post_ratings(request: Request) -> Response:
        asked = await parse_body(request, parse_ratings)
        scope = request.scope
        routing = routings.find(asked.model) or routing_of(asked.model)
        arm = routing.arm_for(asked.user_id, scope[REQUEST_ID])
        model = routing.model_for(asked.user_id, scope[REQUEST_ID], arm)
        answering: Awaitable[dict[str, Any]] = predict_ratings(asked, model, store)
        if routing.trial is not None and routing.active.rating is not None:
            answering = service.canary_watch.observe_rating(routing, model, answering)
        try:
            answer = await answering
        except WrongKind as error:
            raise service.answering.hint_at_ratings(error) from error
        answer["request_id"] = scope[REQUEST_ID]
        metrics.stages(answer["timings_ms"])
        headers = _answer_headers(model.version, answer["timings_ms"])
        if arm is not None:
            _note_arm(routing, arm, answer)
            headers.append((b"x-arm", arm.name.encode()))
        scope[ANSWERED_BY] = _count(answer, routing.name)
        return JsonResponse(answer, headers)

    async def post_batch(request: Request) -> Response:
        parsed = await parse_body(request, parse_batch)
        request.scope[N_REQUESTS] = len(parsed)
        routing, request_id = models.routing or routing_of(None), request.scope[REQUEST_ID]
        asked = [one for one in parsed if not isinstance(one, Problem)]
        answers = await _answer_by_name(asked, routing, request_id)
        are_many = len(parsed) > MANY_REQUESTS
        if are_many:
            await asyncio.sleep(0)  # others' turn: to count what is in them takes a millisecond
        sound = [answer for answer in answers if isinstance(answer, dict)]
        model = routing.active
        request.scope[ANSWERED_BY] = ("", model.version, "", DEFAULT)
        metrics.marked(map(_marks, sound))
        timings = sound[0]["timings_ms"] if sound else NO_TIMINGS
        if sound:
            metrics.stages(timings)
        heavy = sum(len(answer["items"]) for answer in sound) > MAX_ITEMS_ON_LOOP
        documents = _in_place(parsed, answers, request_id)
        if are_many:
            await asyncio.sleep(0)
        metrics.batch_answered(map(_outcome, documents, parsed, repeat(model.version)))
        [encoded] = await runner.run(_encode_batch, documents, model, heavy=heavy)
        if are_many:
            del asked
            await asyncio.to_thread(_let_go, parsed)
        return JsonResponse(encoded, _answer_headers(model.version, timings))

    async def _answer_by_name(
        asked: Sequence[RecommendRequest], default: Routing, request_id: str
    ) -> Sequence[dict[str, Any] | Fault]:
        """Each name's versions answer its own requests; the answers are in their order."""
        names = dict.fromkeys(one.model for one in asked)
        if names.keys() <= {None}:
            return await _answer_by_version(asked, default, request_id)
        answers: dict[int, dict[str, Any] | Fault] = {}
        for name in names:
            own = [position for position, one in enumerate(asked) if one.model == name]
            try:
                routing = routings.find(name) or routing_of(name)
            except (InvalidField, NotReady) as error:
                answers |= dict.fromkeys(own, error)
                continue
            queries = [asked[position] for position in own]
            answers |= zip(own, await _answer_by_version(queries, routing, request_id), strict=True)
        return [answers[position] for position in range(len(asked))]

    async def _answer_by_version(
        asked: Sequence[RecommendRequest], routing: Routing, request_id: str
    ) -> list[dict[str, Any] | InvalidField]:
        """Each version answers its own users; the answers are in the order of the requests."""
        if routing.trial is None and routing.experiment is None:
            answers = list(await recommend_each(asked, routing.active, store, runner, reranker))
            await _note_each(answers, repeat(None), routing, request_id)
            return answers
        arms = [routing.arm_for(one.user_id, request_id) for one in asked]
        models = [
            routing.model_for(one.user_id, request_id, arm)
            for one, arm in zip(asked, arms, strict=True)
        ]
        asked = [
            one if arm is None else one.in_arm(arm.name, arm.defaults)
            for one, arm in zip(asked, arms, strict=True)
        ]
        by_position: dict[int, dict[str, Any] | InvalidField] = {}
        for model in routing.models:
            own = [position for position, one in enumerate(models) if one is model]
            queries = [asked[position] for position in own]
            found = await recommend_each(queries, model, store, runner, reranker)
            by_position |= zip(own, found, strict=True)
        answers = [by_position[position] for position in range(len(asked))]
        await _note_each(answers, arms, routing, request_id)
        return answers

    async def _note_each(
        answers: Sequence[dict[str, Any] | InvalidField],
        arms: Iterable[RoutedArm | None],
        routing: Routing,
        request_id: str,
    ) -> None:
        """Complete the answers of a batch with request_id and arm, and count what was shown."""
        for place, (answer, arm) in enumerate(zip(answers, arms, strict=False)):
            if isinstance(answer, InvalidField):
                continue
            answer["request_id"] = request_id
            if arm is not None:
                _note_arm(routing, arm, answer)
            if exposure_log is not None:
                if place % MANY_ANSWERS == MANY_ANSWERS - 1:
                    await asyncio.sleep(0)  # others' turn
                _log_exposure(exposure_log, routing, answer)

    async def post_events(request: Request) -> Response:
        events = await parse_body(request, parse_events)
        if len(events) > MANY_EVENTS:
            await asyncio.sleep(0)  # others' turn: parsing alone may have taken two milliseconds
        now = time.time()
        arrived = [(event.user_id, _as_it_happened(event, now)) for event in events]
        try:
            n_journaled = await service.store.events.append(arrived)
        except OSError as error:
            raise Problem(
                503,
                f"the store takes no events and the journal can't be written ({error.strerror})",
                headers={"Retry-After": "1"},
            ) from error
        metrics.events.labels("store").inc(len(events) - n_journaled)
        metrics.events.labels("journal").inc(n_journaled)
        model = models.current
        rules = DEFAULT_EVENTS.rules if model is None else model.events.rules
        weights = [rules.weigh(event.type, event.rating) for event in events]
        metrics.events_read(weights)
        for name, clicks in (await _clicks_by_name(events, weights)).items():
            routing = routings.find(name)
            if routing is not None:
                await _note_clicks(routing, clicks)
        unknown = 0 if model is None else sum(e.item_id not in model.ids for e in events)
        degraded = ["store"] if n_journaled else []
        for what in degraded:
            metrics.degraded.labels(what, "", "").inc()
        return JsonResponse(
            {"accepted": len(events), "unknown_items": unknown, "degraded": degraded}
        )

    async def _note_clicks(routing: Routing, clicks: Sequence[Event]) -> None:
        """Count clicks under a name, in its experiment and by version."""
        experiment, period = routing.experiment, routing.period
        if experiment is not None:
            await service.exposures.note_clicks(experiment.scope, experiment.arm_name_of, clicks)
        if exposure_log is None or period is None:
            return
        counted = []
        for place, one in enumerate(clicks):
            if place % MANY_EVENTS == MANY_EVENTS - 1:
                await asyncio.sleep(0)  # others' turn
            if routing.counts(one.user_id) and exposure_log.takes(one.request_id or ""):
                counted.append(one)
        await service.exposures.note_clicks(period, routing.arm_name_of, counted)

    def _note_arm(routing: Routing, arm: RoutedArm, answer: dict[str, Any]) -> None:
        answer["arm"] = arm.name
        if routing.experiment is not None:
            service.exposures.note_shown(routing.experiment.scope, arm.name, answer)

    def _log_exposure(log: ExposureLog, routing: Routing, answer: dict[str, Any]) -> None:
        is_counted = log.note(answer, routing.name) and routing.counts(answer["user_id"])
        if is_counted and routing.period is not None:
            service.exposures.note_shown(routing.period, answer.get("arm", ""), answer)

    def _count(answer: dict[str, Any], name: str) -> AnsweredBy:
        """Count what is missing in an answer; returns what answered, under a name."""
        if answer["degraded"] or answer["rerank"] != "skipped":  # most lack nothing
            metrics.marked([_marks(answer)])
        return answer["served_by"], answer["model_version"], answer.get("arm", ""), name

    return {
        "/recommend": post_recommend,
        "/ratings": post_ratings,
        "/recommend/batch": post_batch,
        "/events": post_events,
    }


def _in_place(
    parsed: Sequence[Query | Problem],
    answers: Sequence[dict[str, Any] | Fault],
    request_id: str,
) -> list[dict[str, Any]]:
    """For each request of a batch its answer, or the problem of it."""
    left = iter(answers)
    found = [one if isinstance(one, Problem) else next(left) for one in parsed]
    problems = [from_error(one) if isinstance(one, LongtailError) else one for one in found]
    return [one.document(request_id) if isinstance(one, Problem) else one for one in problems]


def _marks(answer: dict[str, Any]) -> Marks:
    return answer["degraded"], answer["rerank"], answer["model_version"], answer.get("arm", "")


def _outcome(
    document: dict[str, Any], asked: RecommendRequest | Problem, active: str
) -> tuple[int, AnsweredBy]:
    """The status of an entry of a batch, and what answered it."""
    served_by = document.get("served_by")
    if served_by is None or isinstance(asked, Problem):
        return document["status"], ("", active, "", DEFAULT)
    arm, name = document.get("arm", ""), asked.model or DEFAULT
    return 200, (served_by, document["model_version"], arm, name)


async def _clicks_by_name(
    events: Sequence[Event], weights: Sequence[float]
) -> dict[str, list[Event]]:
    """The positive events that follow an answer, by the name that it was given under."""
    found: dict[str, list[Event]] = {}
    for place, (event, weight) in enumerate(zip(events, weights, strict=True)):
        if place % MANY_EVENTS == MANY_EVENTS - 1:
            await asyncio.sleep(0)  # others' turn
        if weight > 0 and event.request_id is not None:
            found.setdefault(event.model or DEFAULT, []).append(event)
    return found


def _as_it_happened(event: Event, now: float) -> codecs.Event:
    """The event with its time: the client's, unless its clock is wrong."""
    timestamp = event.timestamp
    if timestamp is None or timestamp > now + MAX_AHEAD_S:
        timestamp = now
    return codecs.Event(
        event.item_id,
        timestamp,
        event.rating,
        event.type,
        event.value,
        event.event_id,
        event.request_id,
        event.rank,
    )


def _encode_batch(answers: Sequence[dict[str, Any]], _: Model) -> list[bytes]:
    """Encode answers one by one: a single call would block other threads.

    The answers are emptied: to free a quarter of a million items takes as long as to encode them.
    """
    encoded = []
    for answer in answers:
        encoded.append(orjson.dumps(answer))
        answer.clear()
    return [b'{"responses":[' + b",".join(encoded) + b"]}"]


def _let_go(requests: list[RecommendRequest | Problem]) -> None:
    """Free requests one by one: all in one call would block other threads."""
    while requests:
        requests.pop()


def _answer_headers(version: str, timings: dict[str, float]) -> list[tuple[bytes, bytes]]:
    timing = (_SERVER_TIMING % timings).encode()
    return [(b"server-timing", timing), (b"x-model-version", version.encode())]
