"""The chart's Job that publishes a bundle: one for each bundle, and never changed."""

from __future__ import annotations

import copy
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
import yaml

from tests.deploy.chart import (
    CHART,
    OLDEST,
    helm,
    kubernetes_validate,
    of_kind,
    render,
)


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
