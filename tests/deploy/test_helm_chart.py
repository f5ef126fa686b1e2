"""The Helm chart, rendered by Helm's own library: its objects are valid, and fit the service."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import yaml

from app.settings import KNOWN_ELSEWHERE, PREFIX, Settings
from app.telemetry.metrics import Metrics
from longtail import build_parser
from tests.app.http.curl_examples import blocks_of
from tests.contracts.tree import ROOT

helm = pytest.importorskip("helm_python", reason="its wheel is for Linux on x86-64")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

CHART = ROOT / "deploy" / "helm" / "longtail"
PAGE = ROOT / "docs" / "kubernetes.md"
OLDEST = "1.30"
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


@pytest.mark.parametrize(
    ("values", "count"),
    [({}, 6), (EVERYTHING, 9), (IN_AN_OBJECT_STORE, 7)],
    ids=["defaults", "everything", "in an object store"],
)
def test_objects_are_valid(
    values: dict[str, Any], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = kubernetes_validate.utils
    monkeypatch.setattr(utils, "schema_contents", cache(utils.schema_contents))
    objects = render(values)
    assert len(objects) == count
    for one in objects:
        for version in (OLDEST, utils.latest_version()):
            kubernetes_validate.validate(one, version, strict=True)
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


def test_a_wrong_object_is_not_valid() -> None:
    deployment = of_kind("Deployment", render({}))
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, OLDEST, strict=True)


def test_helm_has_nothing_to_warn_of() -> None:
    report = helm.lint(CHART, EVERYTHING, strict=True, kube_version=f"v{OLDEST}.0")
    assert report["errors"] == []
    assert [one for one in report["messages"] if one["severity"] > 1] == []


def test_pods_have_no_rights_and_write_into_volumes_alone() -> None:
    found = dict(pods(everything()))
    assert len(found) == 4
    for pod in found.values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["fsGroup"] == 0
        [container] = spec["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "runAsUser" not in spec["securityContext"] | security
        mounted = {one["name"] for one in container["volumeMounts"]}
        assert mounted == {one["name"] for one in spec["volumes"]}
        paths = {one["mountPath"] for one in container["volumeMounts"]}
        written = {variables_of(pod)[name]["value"] for name in ("HOME", "LONGTAIL_STORE_DIR")}
        assert written <= paths


def test_variables_are_settings_and_secrets_are_references() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | KNOWN_ELSEWHERE | {"HOME"}
    for _, pod in pods(everything()):
        variables = variables_of(pod)
        assert variables.keys() <= known
        secret = {
            name.removeprefix(PREFIX) for name, one in variables.items() if "value" not in one
        }
        assert secret == SECRETS
        for name in secret:
            reference = variables[PREFIX + name]["valueFrom"]["secretKeyRef"]
            assert reference.keys() == {"name", "key"}
        assert variables["LONGTAIL_EVENT_LOG_ENTRIES"]["value"] == "2000000"
        settings = settings_of(pod)
        assert (settings.max_wait_ms, settings.rerank) == (30.5, False)


def test_bundles_are_in_a_claim_or_in_an_object_store() -> None:
    def of(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        pod = pod_of(of_kind("Deployment", render(values)))
        assert pod is not None
        [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "bundles"]
        [mount] = [
            one for one in pod["spec"]["containers"][0]["volumeMounts"] if one["name"] == "bundles"
        ]
        return volume, mount, variables_of(pod)

    volume, mount, variables = of({})
    assert volume["persistentVolumeClaim"] == {"claimName": "longtail-bundles"}
    assert mount["readOnly"] is True
    assert variables["LONGTAIL_BUNDLES_DIR"]["value"] == mount["mountPath"]
    assert "LONGTAIL_BUNDLES_CACHE_DIR" not in variables
    volume, mount, variables = of(IN_AN_OBJECT_STORE)
    assert volume["emptyDir"] == {"sizeLimit": "5000000000"}
    assert mount["readOnly"] is False
    assert variables["LONGTAIL_BUNDLES_DIR"]["value"] == "s3://models/bundles"
    assert variables["LONGTAIL_BUNDLES_CACHE_DIR"]["value"] == mount["mountPath"]
    assert variables["LONGTAIL_BUNDLES_CACHE_BYTES"]["value"] == "4000000000"
    assert "valueFrom" in variables["AWS_SECRET_ACCESS_KEY"]


def test_a_secret_of_the_defaults_can_be_left_out() -> None:
    deployment = of_kind("Deployment", render({"secrets": {"adminToken": None}}))
    pod = pod_of(deployment)
    assert pod is not None
    variables = variables_of(pod)
    assert "LONGTAIL_ADMIN_TOKEN" not in variables
    assert "LONGTAIL_REDIS_URL" in variables


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_commands_are_those_of_longtail(values: dict[str, Any]) -> None:
    parser = build_parser()
    for _, pod in pods(render(values)):
        [container] = pod["spec"]["containers"]
        assert container["command"] == ["longtail"]
        arguments = parser.parse_args(container["args"])
        for name in ("bundle", "out", "interactions", "items", "events", "exposures"):
            if path := getattr(arguments, name, None):
                assert str(path).startswith("/builds/")


def test_a_refresh_asks_the_releases_service() -> None:
    service = of_kind("Service", everything())
    pod = pod_of(of_kind("CronJob", everything()))
    assert pod is not None
    arguments = build_parser().parse_args(pod["spec"]["containers"][0]["args"])
    [port] = service["spec"]["ports"]
    assert arguments.url == f"http://{service['metadata']['name']}:{port['port']}"
    assert (arguments.canary, arguments.promote, arguments.margin) == (5.0, True, 0.02)
    alone = pod_of(of_kind("CronJob", render({"refresh": {"enabled": True}})))
    assert alone is not None
    arguments = build_parser().parse_args(alone["spec"]["containers"][0]["args"])
    assert (arguments.url, arguments.exposures) == (None, None)


def test_answers_are_archived_where_a_refresh_reads_them() -> None:
    archive = of_kind("Deployment", everything(), "-archive")
    for workload in (archive, of_kind("CronJob", everything())):
        pod = pod_of(workload)
        assert pod is not None
        arguments = build_parser().parse_args(pod["spec"]["containers"][0]["args"])
        assert arguments.exposures == Path("/builds/shown")
    without = of_kind("Deployment", render({"archive": {"enabled": True}}), "-archive")
    assert "--exposures" not in str(without)


def test_selectors_ports_and_targets_meet() -> None:
    objects = everything()
    deployment = of_kind("Deployment", objects, "longtail")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        of_kind("Service", objects)["spec"]["selector"],
        of_kind("PodDisruptionBudget", objects)["spec"]["selector"]["matchLabels"],
    ]
    others = [pod["metadata"]["labels"] for name, pod in pods(objects) if pod is not None]
    for selector in selectors:
        matching = [one for one in others if selector.items() <= one.items()]
        assert matching == [labels]
    everywhere = of_kind("NetworkPolicy", objects)["spec"]["podSelector"]["matchLabels"]
    assert all(everywhere.items() <= one.items() for one in others)
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    [port] = container["ports"]
    assert (
        str(port["containerPort"])
        == variables_of(pod_of(deployment) or {})["LONGTAIL_PORT"]["value"]
    )
    assert of_kind("Service", objects)["spec"]["ports"][0]["targetPort"] == port["name"]
    target = of_kind("HorizontalPodAutoscaler", objects)["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"]
    assert (
        of_kind("Deployment", render({"autoscaling": {"enabled": False}}))["spec"]["replicas"] == 2
    )
    accounts = {pod["spec"]["serviceAccountName"] for _, pod in pods(objects)}
    assert accounts == {of_kind("ServiceAccount", objects)["metadata"]["name"]}


def test_probes_are_endpoints_of_the_service() -> None:
    deployment = of_kind("Deployment", render({}))
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    documented = json.loads((ROOT / "clients" / "openapi.json").read_text())["paths"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness")}
    assert set(paths.values()) == {"/health/live"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert {"/health/live", "/health/ready"} <= documented.keys()


@pytest.mark.parametrize("values", [{}, {"settings": {"shutdown_timeout_ms": 120_000}}])
def test_a_pod_is_not_killed_before_its_requests_are_answered(values: dict[str, Any]) -> None:
    pod = pod_of(of_kind("Deployment", render(values)))
    assert pod is not None
    stopping_s = pod["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    answering_s = settings_of(pod).shutdown_timeout_ms / 1e3
    assert pod["spec"]["terminationGracePeriodSeconds"] >= stopping_s + answering_s + 10


def test_the_autoscalers_metric_is_made_of_the_services() -> None:
    scaler = of_kind("HorizontalPodAutoscaler", render({}))
    [cpu, pods_metric] = scaler["spec"]["metrics"]
    assert cpu["resource"]["name"] == "cpu"
    [block] = [one for one in blocks_of(PAGE) if "seriesQuery" in one.text]
    [rule] = yaml.safe_load(block.text)["rules"]
    assert rule["name"]["as"] == pods_metric["pods"]["metric"]["name"]
    metrics = Metrics()
    metrics.answered("/recommend", 200, ("model", "v", "", "default"), 0.001)
    found = set(re.findall(r"^(longtail_\w+)", metrics.document().decode(), re.MULTILINE))
    named = set(re.findall(r"longtail_\w+", rule["seriesQuery"] + rule["metricsQuery"]))
    assert named == {"longtail_in_flight_limit", "longtail_request_seconds_sum"}
    assert named <= found
    only_cpu = render({"autoscaling": {"inFlightShare": ""}})
    assert len(of_kind("HorizontalPodAutoscaler", only_cpu)["spec"]["metrics"]) == 1


def test_another_bundle_is_another_job() -> None:
    def name(**publish: Any) -> str:
        objects = render({"publish": {"enabled": True, **publish}, "workers": len(publish) + 1})
        return str(of_kind("Job", objects)["metadata"]["name"])

    assert name() == name(bundle="mine/bundle") != name(bundle="newer/bundle")


class ApiServer(BaseHTTPRequestHandler):
    """As much of Kubernetes' API as it takes to look up a Job."""

    jobs: ClassVar[dict[str, dict[str, Any]]] = {}
    resource: ClassVar[dict[str, Any]] = {
        "name": "jobs", "singularName": "job", "namespaced": True, "kind": "Job", "verbs": ["get"],
    }  # fmt: skip
    version: ClassVar[dict[str, Any]] = {"groupVersion": "batch/v1", "version": "v1"}

    def do_GET(self) -> None:
        group = {"name": "batch", "versions": [self.version], "preferredVersion": self.version}
        name = self.path.rpartition("/")[2]
        answers: dict[str, dict[str, Any]] = {
            "/api": {"kind": "APIVersions", "versions": []},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]},
            "/apis/batch/v1": {
                "kind": "APIResourceList", "groupVersion": "batch/v1", "resources": [self.resource],
            },
        }  # fmt: skip
        if name in self.jobs:
            answers[f"/apis/batch/v1/namespaces/prod/jobs/{name}"] = self.jobs[name]
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound"}
        found = answers.get(self.path.partition("?")[0])
        content = json.dumps(found or {**missing, "code": 404}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def admitted(job: dict[str, Any]) -> dict[str, Any]:
    """A Job as the API server keeps it: with defaults, and what the controller adds."""
    live = copy.deepcopy(job)
    uid = {"batch.kubernetes.io/controller-uid": "7c", "controller-uid": "7c"}
    named = {"batch.kubernetes.io/job-name": "x", "job-name": "x"}
    live["metadata"] |= {"uid": "7c", "resourceVersion": "1"}
    live["spec"] |= {"parallelism": 1, "suspend": False, "selector": {"matchLabels": uid}}
    live["spec"]["template"]["metadata"]["creationTimestamp"] = None
    live["spec"]["template"]["metadata"]["labels"] |= uid | named
    live["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    return {**live, "status": {"succeeded": 1}}


def test_a_job_that_is_there_is_in_the_manifest_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes rejects a change of a Job, and Helm deletes one that a manifest leaves out."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("KUBECONFIG", os.devnull)

    def job(max_wait_ms: int) -> dict[str, Any]:
        values = {"publish": {"enabled": True}, "settings": {"max_wait_ms": max_wait_ms}}
        url = f"http://127.0.0.1:{server.server_port}"
        with helm.Chart.load(CHART) as chart, helm.Config(kube_apiserver=url) as cluster:
            found = cluster.render(chart, values, name="shop", namespace="prod")
        [one] = yaml.safe_load_all(found["longtail/templates/publish-job.yaml"])
        assert isinstance(one, dict)
        return one

    try:
        first, changed = job(5), job(6)
        assert first["spec"] != changed["spec"]
        live = admitted(first)
        monkeypatch.setattr(ApiServer, "jobs", {first["metadata"]["name"]: live})
        second = job(6)
    finally:
        server.shutdown()
        server.server_close()
    # Without "keep": it goes with the release, and the next installation publishes again.
    assert second["metadata"] == first["metadata"]
    assert "annotations" not in second["metadata"]
    kubernetes_validate.validate(second, OLDEST, strict=True)
    # A rollback takes back what the second one says beyond the first: defaults, which return.
    template = second["spec"].pop("template")
    assert template["spec"].pop("dnsPolicy") == "ClusterFirst"
    assert second["spec"] == {"backoffLimit": 3, "parallelism": 1, "suspend": False}
    assert template == first["spec"]["template"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"setings": {}}, "setings"),
        ({"workers": 0}, "workers"),
        ({"settings": {"max-wait": 1}}, "max-wait"),
        ({"secrets": {"rerankUrl": {"name": "longtail"}}}, "rerankUrl"),
        ({"publish": {"bundle": "/mine"}}, "bundle"),
        ({"settings": {"admin_token": "x"}}, "settings.admin_token is a secret"),
        ({"settings": {"port": 9000}}, "settings.port is set by the chart"),
        ({"autoscaling": {"cpu": 0, "inFlightShare": ""}}, "needs one of cpu and inFlightShare"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(helm.HelmError, match=re.escape(message)):
        render(values)


def test_the_pages_values_can_be_installed() -> None:
    blocks = [yaml.safe_load(one.text) for one in blocks_of(PAGE) if one.language == "yaml"]
    values = [one for one in blocks if "rules" not in one]
    assert len(values) == 3
    parser = build_parser()
    for one in values:
        for _, pod in pods(render(one)):
            parser.parse_args(pod["spec"]["containers"][0]["args"])
            settings_of(pod)
