"""Renders the Helm chart by Helm's own library, and finds what is in its objects."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from app.settings import KNOWN_ELSEWHERE, PREFIX, Settings
from tests.contracts.tree import ROOT

helm = pytest.importorskip("helm_python", reason="its wheel is for Linux on x86-64")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

OLDEST = "1.30"
"""The oldest version of Kubernetes whose schema the objects must meet."""
CHART = ROOT / "deploy" / "helm" / "longtail"
EVERYTHING: dict[str, Any] = {
    "settings": {"max_wait_ms": 30.5, "event_log_entries": 2_000_000, "rerank": False},
    "secrets": {
        "redisPassword": {"name": "store", "key": "password"},
        "rerankUrl": {"name": "model", "key": "url"},
        "rerankApiKey": {"name": "model", "key": "key"},
    },
    "podSecurityContext": {"fsGroup": 0},
    "networkPolicy": {"callers": [{"podSelector": {"matchLabels": {"app": "shop"}}}]},
    "publish": {"enabled": True},
    "archive": {"enabled": True, "exposures": "shown"},
    "refresh": {
        "enabled": True,
        "exposures": "shown",
        "shadow": "10m",
        "canary": 5,
        "promote": True,
        "flags": ["--margin", "0.02"],
    },
}
IN_AN_OBJECT_STORE: dict[str, Any] = {
    "bundles": {"url": "s3://models/bundles", "cacheBytes": 4_000_000_000},
    "environment": [
        {
            "name": "AWS_SECRET_ACCESS_KEY",
            "valueFrom": {"secretKeyRef": {"name": "object-store", "key": "secret"}},
        }
    ],
    "serviceAccount": {"annotations": {"example.org/role": "reader"}},
    "publish": {"enabled": True},
}
SECRETS = {"REDIS_URL", "REDIS_PASSWORD", "ADMIN_TOKEN", "RERANK_URL", "RERANK_API_KEY"}


def render(values: dict[str, Any], name: str = "shop") -> list[dict[str, Any]]:
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name=name, namespace="prod")
    documents = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [one for text in documents for one in yaml.safe_load_all(text) if one]


@cache
def everything() -> list[dict[str, Any]]:
    return render(EVERYTHING)


def of_kind(kind: str, objects: list[dict[str, Any]], part: str = "") -> dict[str, Any]:
    [found] = [
        one for one in objects if one["kind"] == kind and one["metadata"]["name"].endswith(part)
    ]
    return found


def pod_of(one: dict[str, Any]) -> dict[str, Any] | None:
    """The pod template of an object that has one."""
    spec = one.get("spec", {})
    template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    return template if isinstance(template, dict) else None


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in objects:
        if pod := pod_of(one):
            yield one["metadata"]["name"], pod


def variables_of(pod: dict[str, Any]) -> dict[str, Any]:
    [container] = pod["spec"]["containers"]
    return {one["name"]: one for one in container["env"]}


def settings_of(pod: dict[str, Any]) -> Settings:
    """The service's settings by the plain variables."""
    plain = {
        name.removeprefix(PREFIX).lower(): one["value"]
        for name, one in variables_of(pod).items()
        if name.startswith(PREFIX) and "value" in one and name not in KNOWN_ELSEWHERE
    }
    return Settings(**plain)  # type: ignore[arg-type]
