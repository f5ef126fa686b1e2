"""The protocol between workers and the reranker's process: one JSON document a line.

    {"id": 1, "load": {"version": "v", "bundle": "/folder"}}
        → {"id": 1, "ready": true}
    {"id": 2, "version": "v", "user_id": "u" | null, "history": [3, 1], "candidates": [7, 5]}
        → {"id": 2, "scores": [0.5, 1.5], "similar_user": "w" | null, "ms": 90.1}
    {"id": 3, "ping": true}
        → {"id": 3, "alive": true}
    {"id": 4, "ping": true, "forgotten": ["8f14e45fceea167a5a36dedd4bea2543"]}
        → {"id": 4, "alive": true}

The last one is a ping to a process of an earlier release, which would end the connection at a
request that it doesn't know. Any of them may be answered `{"id": 2, "error": "one line"}`, with
`"not_loaded": true` where the version has to be loaded (again) first. Answers come in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson

from app.reranking.job import Answer, Job, RerankError, is_score
from model_store.texts import shorten

# A history of 10,000 items, the longest that a request may have, takes half of this.
MAX_LINE_BYTES = 256 * 1024


class MalformedMessage(RerankError):  # noqa: N818 - names its subject
    """The other side doesn't speak the protocol."""


@dataclass(frozen=True)
class RankRequest:
    """Candidates to be scored."""

    number: int
    job: Job


@dataclass(frozen=True)
class LoadRequest:
    """A version to be loaded."""

    number: int
    version: str
    folder: Path


@dataclass(frozen=True)
class Ping:
    """Whether the process still answers."""

    number: int


@dataclass(frozen=True)
class Forgotten:
    """Users who may stand in no prompt any more, by `forgotten.digest_of_user`."""

    number: int
    digests: tuple[bytes, ...]


Request: TypeAlias = RankRequest | LoadRequest | Ping | Forgotten
Document: TypeAlias = dict[str, Any]


def request_line(request: Request) -> bytes:
    """A request as it is sent."""
    document: Document = {"id": request.number}
    match request:
        case RankRequest(job=job):
            document |= {
                "version": job.version,
                "user_id": job.user_id,
                "history": job.history,
                "candidates": job.candidates,
            }
        case LoadRequest():
            document["load"] = {"version": request.version, "bundle": str(request.folder)}
        case Ping():
            document["ping"] = True
        case Forgotten():
            document["ping"] = True
            document["forgotten"] = [digest.hex() for digest in request.digests]
    return _line(document)


def read_request(line: bytes) -> Request:
    """The request in a line.

    Raises:
        MalformedMessage: it is none.
    """
    document = _document(line)
    number = document["id"]
    match document:
        case {"forgotten": list(digests)}:
            try:
                return Forgotten(number, tuple(map(bytes.fromhex, digests)))
            except (TypeError, ValueError):
                pass
        case {"ping": True}:
            return Ping(number)
        case {"load": {"version": str(version), "bundle": str(folder)}}:
            return LoadRequest(number, version, Path(folder))
        case {
            "version": str(version),
            "user_id": str() | None as user_id,
            "history": list(history),
            "candidates": list(candidates),
        } if _are_indices(history) and _are_indices(candidates):
            return RankRequest(number, Job(version, user_id, tuple(history), tuple(candidates)))
    raise MalformedMessage(f"not a request: {_excerpt(line)}")


def answer_line(number: int, answer: Answer, ms: float) -> bytes:
    """The reply with scores; `ms` is the time since the request came."""
    return _line(
        {
            "id": number,
            "scores": answer.scores.tolist(),
            "similar_user": answer.similar_user,
            "ms": round(ms, 3),
        }
    )


def ready_line(number: int) -> bytes:
    """The reply once a version is loaded."""
    return _line({"id": number, "ready": True})


def alive_line(number: int) -> bytes:
    """The reply to a ping, and to who is forgotten."""
    return _line({"id": number, "alive": True})


def error_line(number: int, message: str, *, not_loaded: bool = False) -> bytes:
    """The reply that says why there is no other."""
    document: Document = {"id": number, "error": shorten(message)}
    return _line(document | {"not_loaded": True} if not_loaded else document)


def read_reply(line: bytes) -> Document:
    """A reply with its `id`; the rest is checked by those who know the request.

    Raises:
        MalformedMessage: it is none.
    """
    document = _document(line)
    if "error" in document:
        error = document["error"]
        if not isinstance(error, str):
            raise MalformedMessage(f"not a reply: {_excerpt(line)}")
        document["error"] = shorten(" ".join(error.split()))
    return document


def read_answer(reply: Document, n_candidates: int) -> Answer:
    """The answer in a reply to a RankRequest.

    Raises:
        MalformedMessage: it has not one finite score for each candidate, or no user.
    """
    scores, similar_user = reply.get("scores"), reply.get("similar_user")
    if (
        not isinstance(scores, list)
        or len(scores) != n_candidates
        or not all(map(is_score, scores))
        or not isinstance(similar_user, str | None)
    ):
        raise MalformedMessage(f"not scores of {n_candidates} candidates: {reply!r:.100}")
    return Answer(np.array(scores, dtype=np.float32), similar_user)


def _line(document: Document) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _document(line: bytes) -> Document:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or type(document.get("id")) is not int:
        raise MalformedMessage(f"not a document with an id: {_excerpt(line)}")
    return document


def _are_indices(values: list[object]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _excerpt(line: bytes) -> str:
    return repr(line[:80])
