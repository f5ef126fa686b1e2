"""A Hugging Face hub on this machine: the calls that pushing and pulling make, in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_tests"


@dataclass
class Repository:
    """Commits by their id, each with all files; branches and tags by name."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        oid = hashlib.sha256(f"{branch} {len(self.commits)}".encode()).hexdigest()[:40]
        self.commits[oid] = files
        self.branches[branch] = oid
        return oid

    def find(self, revision: str) -> str | None:
        """The commit that a branch, a tag or an id means."""
        known = {**self.branches, **self.tags, **{oid: oid for oid in self.commits}}
        return known.get(revision)


@dataclass
class Hub:
    """All repositories, and the large files that were uploaded.

    Attributes:
        calls: of all requests, method and path.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def files(self, repository: str, revision: str = "main") -> dict[str, bytes]:
        found = self.repositories[repository]
        return found.commits[found.find(revision) or ""]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, document: Any, status: int = 200, **headers: str) -> None:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _do(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.calls.append(f"{self.command} {path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and not path.startswith("/lfs/"):
            self._answer({"error": "Invalid username or password."}, 401)
            return
        for pattern, method in _CALLS:
            method_, _, path_ = pattern.partition(" ")
            found = re.fullmatch(path_, path)
            if found and self.command in method_.split("|"):
                getattr(self, method)(body, *found.groups())
                return
        self._answer({"error": f"no such call: {self.command} {path}"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _do  # noqa: N815 - names of the base class

    def _chunks(self) -> bytes:
        found = b""
        while n_bytes := int(self.rfile.readline(), 16):
            found += self.rfile.read(n_bytes)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            document = {"error": "You already created this", "url": f"{self.hub.url}/{name}"}
            self._answer(document, 409)
            return
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.repositories[name] = made = Repository(private=bool(private))
        made.commit("main", {".gitattributes": b"*.npy filter=lfs\n"})
        self._answer({"url": f"{self.hub.url}/{name}", "id": name})

    def _validate(self, body: bytes) -> None:
        is_card = json.loads(body)["content"].startswith("---\n")
        errors = [] if is_card else [{"message": "no metadata"}]
        self._answer({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _found(self, name: str, revision: str) -> tuple[Repository, str] | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            return None
        oid = repository.find(revision)
        if oid is None:
            self._answer({"error": "Invalid rev id"}, 404, X_Error_Code="RevisionNotFound")
            return None
        return repository, oid

    def _info(self, _: bytes, name: str, revision: str | None = None) -> None:
        if found := self._found(name, revision or "main"):
            repository, oid = found
            files = [{"rfilename": file} for file in repository.commits[oid]]
            private = repository.private
            self._answer({"id": name, "sha": oid, "private": private, "siblings": files})

    def _refs(self, _: bytes, name: str) -> None:
        if found := self._found(name, "main"):
            kinds = {"branches": found[0].branches, "tags": found[0].tags}
            refs = {
                kind: [
                    {"name": one, "ref": f"refs/{kind}/{one}", "targetCommit": oid}
                    for one, oid in some.items()
                ]
                for kind, some in kinds.items()
            }
            self._answer({**refs, "converts": []})

    def _tree(self, _: bytes, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            files = found[0].commits[found[1]]
            entries = [
                {"type": "file", "path": file, "size": len(content), "oid": "0" * 40}
                for file, content in files.items()
            ]
            self._answer(entries)

    def _preupload(self, body: bytes, _name: str, _revision: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith((".npy", ".onnx")) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self._answer({"files": files})

    def _batch(self, body: bytes, _name: str) -> None:
        objects = []
        for one in json.loads(body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}
            known = one["oid"] in self.hub.large
            objects.append(one if known else {**one, "actions": upload})
        self._answer({"transfer": "basic", "objects": objects})

    def _upload(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.large[oid] = body
        self._answer({})

    def _commit(self, body: bytes, name: str, branch: str) -> None:
        if not (found := self._found(name, branch)):
            return
        repository, oid = found
        files = dict(repository.commits[oid])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit", oid) != oid:
                self._answer({"error": "A commit has happened since."}, 412)
                return
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        made = repository.commit(branch, files)
        self._answer({"commitUrl": f"{self.hub.url}/{name}/commit/{made}", "commitOid": made})

    def _tag(self, body: bytes, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            tag = json.loads(body)["tag"]
            if tag in found[0].tags:
                self._answer({"error": "Tag already exists"}, 409)
                return
            found[0].tags[tag] = found[1]
            self._answer({})

    def _untag(self, _: bytes, name: str, tag: str) -> None:
        if found := self._found(name, tag):
            del found[0].tags[tag]
            self._answer({})

    def _resolve(self, _: bytes, name: str, revision: str, file: str) -> None:
        if not (found := self._found(name, revision)):
            return
        content = found[0].commits[found[1]].get(file)
        if content is None:
            self._answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
            return
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        start = 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(asked[1])
        headers = {"ETag": etag, "X_Repo_Commit": found[1], "Accept_Ranges": "bytes"}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._answer(content[start:], 206 if start else 200, **headers)


_NAME = r"([\w.-]+/[\w.-]+)"
_CALLS = [
    ("POST /api/repos/create", "_create"),
    ("POST /api/validate-yaml", "_validate"),
    (f"GET /api/models/{_NAME}/refs", "_refs"),
    (f"GET /api/models/{_NAME}/tree/([^/]+)", "_tree"),
    (f"GET /api/models/{_NAME}/revision/([^/]+)", "_info"),
    (f"GET /api/models/{_NAME}", "_info"),
    (f"POST /api/models/{_NAME}/preupload/([^/]+)", "_preupload"),
    (f"POST /{_NAME}.git/info/lfs/objects/batch", "_batch"),
    ("PUT /lfs/([0-9a-f]{64})", "_upload"),
    (f"POST /api/models/{_NAME}/commit/([^/]+)", "_commit"),
    (f"POST /api/models/{_NAME}/tag/([^/]+)", "_tag"),
    (f"DELETE /api/models/{_NAME}/tag/([^/]+)", "_untag"),
    (f"GET|HEAD /{_NAME}/resolve/([^/]+)/(.+)", "_resolve"),
]


@contextmanager
def hub_serving() -> Iterator[Hub]:
    """A hub that answers at its `url`."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
