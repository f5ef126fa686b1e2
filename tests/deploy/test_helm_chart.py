"""The Helm chart, rendered by Helm's own library: its objects are valid, and fit the service."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import KNOWN_ELSEWHERE, PREFIX, Settings
from app.telemetry.metrics import Metrics
from longtail import build_parser
from tests.app.http.curl_examples import blocks_of
from tests.contracts.tree import ROOT
from tests.deploy.chart import (
    CHART,
    EVERYTHING,
    IN_AN_OBJECT_STORE,
    OLDEST,
    SECRETS,
    everything,
    helm,
    kubernetes_validate,
    of_kind,
    pod_of,
    pods,
    render,
    settings_of,
    variables_of,
)

PAGE = ROOT / "docs" / "kubernetes.md"


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
