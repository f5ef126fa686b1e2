"""Traces of requests, for OpenTelemetry; imported only where the settings want them.

A trace is made after its answer, of times that are measured anyway. Of a request that isn't sampled
that costs a look at its headers; instrumentation of every call would cost as much as the request.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.telemetry.package_version import package_version

_PARENTS = TraceContextTextMapPropagator()
_NS_PER_MS = 1e6
CLOSE_S = 1.0


@dataclass(frozen=True)
class AnsweredRequest:
    """A request with its answer, as its trace shows it.

    Attributes:
        route: pattern of its path.
        started_ns, ended_ns: unix nanoseconds.
        stages_ms: milliseconds by name, in order; they end together with the request.
        attributes: further ones of the request's span.
    """

    route: str
    status: int
    started_ns: int
    ended_ns: int
    stages_ms: Mapping[str, float]
    attributes: Mapping[str, str]


class Traces:
    """Sends traces of sampled requests to a collector, from a thread of its own.

    OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME …) say where to.

    Args:
        share: of the requests that are traced, 0 to 1, where the caller has not decided it.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        own = {"service.name": "longtail", "service.version": package_version()}
        # Of the two the environment's names win.
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("longtail", package_version())

    def sample(self, headers: Iterable[tuple[bytes, bytes]]) -> Context | None:
        """The context of a request that is to be traced; None: it is not.

        Args:
            headers: the request's, names in lower case. A caller's `traceparent` decides, and makes
                the request a part of the caller's trace.
        """
        for name, value in headers:
            if name == b"traceparent":
                context = _PARENTS.extract({"traceparent": value.decode("latin-1")})
                parent = trace.get_current_span(context).get_span_context()
                if parent.is_valid:
                    return context if parent.trace_flags.sampled else None
        return Context() if random.random() < self._share else None  # noqa: S311 - no secret

    def record(self, context: Context, answered: AnsweredRequest) -> None:
        """Make the spans of an answered request; they are sent later."""
        span = self._tracer.start_span(
            f"POST {answered.route}",
            context,
            trace.SpanKind.SERVER,
            {
                "http.request.method": "POST",
                "http.route": answered.route,
                "http.response.status_code": answered.status,
                **answered.attributes,
            },
            start_time=answered.started_ns,
        )
        if answered.status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        within = trace.set_span_in_context(span, context)
        at_ns = answered.ended_ns - _ns(sum(answered.stages_ms.values()))
        for name, took_ms in answered.stages_ms.items():
            stage = self._tracer.start_span(name, within, start_time=at_ns)
            at_ns += _ns(took_ms)
            stage.end(at_ns)
        span.end(answered.ended_ns)

    def close(self) -> None:
        """Send what is left, for `CLOSE_S` at most; to be called in a thread."""
        impatience = threading.Timer(CLOSE_S, self._exporter.shutdown)
        impatience.start()
        self._provider.shutdown()
        impatience.cancel()


def _ns(milliseconds: float) -> int:
    return round(milliseconds * _NS_PER_MS)
