"""The dashboard, the alerts and their runbooks are about metrics that exist."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from model_store.registry import Registry
from model_store.store import connect
from offline.refresh.metrics import to_prometheus
from tests.app.conftest import AS_ADMIN, publish_and_activate, serving, settings_for, wait_for
from tests.app.telemetry.promql import Selector, grouping_labels_of, selectors_of
from tests.synthetic_bundle import make_bundle, make_catalogue

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
[GROUP] = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for rule in GROUP["rules"] if "alert" in rule}
RECORDED = {rule["record"]: rule["expr"] for rule in GROUP["rules"] if "record" in rule}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    **{f"panel {one['title']} {q['refId']}": q["expr"] for one in PANELS for q in one["targets"]},
    **{f"alert {name}": rule["expr"] for name, rule in ALERTS.items()},
    **{f"rule {name}": expression for name, expression in RECORDED.items()},
}
# Prometheus adds them when it reads a service's metrics.
TARGET_LABELS = frozenset({"instance", "job"})
OF_PROMETHEUS = {"up": TARGET_LABELS}
VARIABLES = ("$__rate_interval", "$instance", "${datasource}")

Families = list[Metric]


@pytest.fixture(scope="module")
def families(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Families:
    """What a service shows that has answered with two versions, and rejected a third."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "bundles").mkdir()
    with connect(store.url) as client:
        client.flushall()
        publish_and_activate(synthetic_bundle, folder, store.url)
        other = make_bundle(folder / "b", version="made-2", catalogue=make_catalogue(seed=8))
        publish(other, folder / "bundles", client)
        registry = Registry(client)
        registry.canary("made-2", 50)
        with serving(settings_for(store.url, folder)) as http:
            answers = [http.post("/recommend", json={"user_id": f"u{n}"}) for n in range(20)]
            assert len({answer.json()["model_version"] for answer in answers}) == 2
            http.post("/recommend/batch", json={"requests": [{"user_id": "u1"}] * 2})
            http.post("/recommend", json={"history": ["never heard of"]})
            http.post("/events", json={"user_id": "u1", "item_id": "i1"})
            http.get("/admin/models", headers=AS_ADMIN)
            lying = make_bundle(folder / "c", version="lying", with_wrong_golden=True)
            publish(lying, folder / "bundles", client)
            registry.activate("lying")
            wait_for(lambda: "longtail_rejected_version{" in http.get("/metrics").text)
            text = http.get("/metrics").text
    return list(text_string_to_metric_families(text))


@pytest.fixture(scope="module")
def of_refreshes() -> Families:
    """What refreshes of both kinds write for the node exporter."""
    drift = {"unknown_items": 0.1, "unknown_users": 0.2, "attributes": {}}
    psi = {name: {"psi": 0.05} for name in ("items", "history_lengths")}
    report: dict[str, Any] = {
        "finished_at": "2026-12-01T00:00:00+00:00",
        "model": "default",
        "outcome": "published",
        "data": {"drift": drift | psi, "new_interactions": 7, "items_added": 1},
        "comparison": {"all": {"candidate": 0.2, "running": 0.1}, "evidence": "drawn"},
    }
    of_ratings = report | {"comparison": report["comparison"] | {"evidence": "ratings"}}
    written = "".join(map(to_prometheus, (report, of_ratings)))
    return list(text_string_to_metric_families(written))


@pytest.fixture(scope="module")
def labels(families: Families) -> dict[str, dict[str, set[str]]]:
    """By name of a series: its labels, each with the values that it had."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in families:
        for sample in family.samples:
            found[sample.name].update()
            for label, value in sample.labels.items():
                found[sample.name][label].add(value)
    for name, own in OF_PROMETHEUS.items():
        found[name].update({label: set() for label in own})
    for name in RECORDED:
        found[name].update()
    return dict(found)


def plain(expression: str) -> str:
    """The expression without the dashboard's variables, of which all are known."""
    for variable in VARIABLES:
        expression = expression.replace(variable, "x")
    assert "$" not in expression
    return expression


def issues_of(expression: str, labels: dict[str, dict[str, set[str]]]) -> list[str]:
    """Everything that the expression names and that doesn't exist."""
    found, known = [], set(TARGET_LABELS)
    for selector in selectors_of(expression):
        if selector.metric not in labels:
            found.append(selector.metric)
            continue
        own = labels[selector.metric]
        known |= own.keys()
        found += [f"{selector.metric}{{{one}}}" for one in _wrong_matchers(selector, own)]
    return found + sorted(grouping_labels_of(expression) - known)


def _wrong_matchers(selector: Selector, own: dict[str, set[str]]) -> Iterator[str]:
    for label, operator, value in selector.matchers:
        if label in TARGET_LABELS:
            continue
        if label not in own:
            yield label
        elif operator == "=" and value not in own[label]:
            yield f'{label}="{value}"'


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_metrics_that_exist(
    name: str, labels: dict[str, dict[str, set[str]]]
) -> None:
    expression = plain(QUERIES[name])
    assert selectors_of(expression)
    assert issues_of(expression, labels) == []


@pytest.mark.parametrize(
    ("expression", "issue"),
    [
        ("longtail_request_total > 0", "longtail_request_total"),
        ("summ(rate(longtail_requests_total[5m]))", "summ"),
        ("sum by (user) (longtail_requests_total)", "user"),
        ('longtail_requests_total{state="200"}', "longtail_requests_total{state}"),
        (
            'longtail_requests_total{route="/recomend"}',
            'longtail_requests_total{route="/recomend"}',
        ),
        ("longtail_model_workers * on (host) up", "host"),
    ],
)
def test_a_query_that_names_something_else_is_found(
    expression: str, issue: str, labels: dict[str, dict[str, set[str]]]
) -> None:
    assert issues_of(expression, labels) == [issue]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_runbook(name: str) -> None:
    alert = ALERTS[name]
    assert re.fullmatch(r"Longtail[A-Z][A-Za-z]+", name)
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "runbook"}
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    text = (ROOT / page).read_text()
    assert anchor == name.lower()
    section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\*\*(\w+)\*\*", section, re.MULTILINE) == ["Means", "Look", "Do"]


def test_every_runbook_is_of_an_alert() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert re.findall(r"^## (Longtail\w+)$", text, re.MULTILINE) == list(ALERTS)


def test_the_labels_of_a_summary_are_those_of_its_alert(
    labels: dict[str, dict[str, set[str]]],
) -> None:
    for name, alert in ALERTS.items():
        used = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
        kept = set(grouping_labels_of(alert["expr"]))
        if "by (" not in alert["expr"]:
            kept |= TARGET_LABELS
            for selector in selectors_of(alert["expr"]):
                kept |= labels[selector.metric].keys()
        assert used <= kept, name


def test_panels_have_units_and_legends() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for query in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", query["legendFormat"]))
            assert query["legendFormat"]
            assert used <= grouping_labels_of(query["expr"])
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "instance"}


# --- the metrics themselves -------------------------------------------------------------

UNITS = {"seconds", "bytes", "ratio", "info"}
OTHER_UNITS = re.compile(
    r"_(ms|milliseconds|us|minutes|hours|days|kb|mb|kilobytes|percent|pct)(_|$)"
)


def wrong_names(families: Families) -> list[str]:
    """Names against Prometheus' conventions, with the reason."""
    found = []
    for family in families:
        name, kind = family.name, family.type
        if not re.fullmatch(r"longtail(_[a-z]+)+", name):
            found.append(f"{name}: not longtail_ and words")
        if OTHER_UNITS.search(name):
            found.append(f"{name}: no base unit")
        if re.search(r"_(count|sum|bucket|total|counter|gauge|histogram)$", name):
            found.append(f"{name}: the suffix is of a kind of series")
        if kind == "histogram" and name.rpartition("_")[2] not in UNITS:
            found.append(f"{name}: a histogram without a unit")
        if "timestamp" in name and not name.endswith("_timestamp_seconds"):
            found.append(f"{name}: a time of day is in seconds")
        if name.endswith("_info") and any(sample.value != 1 for sample in family.samples):
            found.append(f"{name}: an info has the value 1")
        if not family.documentation:
            found.append(f"{name}: nothing tells what it is")
        for sample in family.samples:
            right = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(kind)
            if right and not sample.name.endswith(right):
                found.append(f"{sample.name}: no suffix of a {kind}")
            found += [
                f"{name}: the label {label}"
                for label in sample.labels
                if not re.fullmatch(r"[a-z]+(_[a-z]+)*", label) or label in TARGET_LABELS
            ]
    return found


def test_names_follow_the_conventions(families: Families) -> None:
    assert len(families) > 15
    assert wrong_names(families) == []


@pytest.mark.parametrize(
    "text",
    [
        "# TYPE longtail_wait_ms gauge\nlongtail_wait_ms 1\n",
        "# TYPE longtail_jobs_total gauge\nlongtail_jobs_total 2\n",
        "# TYPE longtail_wait histogram\nlongtail_wait_count 1\n",
        "# TYPE Jobs gauge\nJobs 2\n",
        '# TYPE longtail_jobs gauge\nlongtail_jobs{job="x"} 2\n',
        '# TYPE longtail_jobs gauge\nlongtail_jobs{Kind="x"} 2\n',
        "# TYPE longtail_start_timestamp gauge\nlongtail_start_timestamp 2\n",
        "# TYPE longtail_python_info gauge\nlongtail_python_info 2\n",
    ],
)
def test_other_names_are_found(text: str) -> None:
    described = re.sub(r"# TYPE (\w+) ", r"# HELP \1 Something.\n# TYPE \1 ", text)
    assert wrong_names(list(text_string_to_metric_families(described)))


def test_every_metric_is_documented(families: Families, of_refreshes: Families) -> None:
    pages = "".join((ROOT / f"docs/{page}.md").read_text() for page in ("operating", "reranking"))
    documented = set(re.findall(r"`(longtail_\w+)", pages))
    names = {
        one.name + ("_total" if one.type == "counter" else "") for one in (*families, *of_refreshes)
    }
    assert names - documented == set()
    assert documented - names == set()
