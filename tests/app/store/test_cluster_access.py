"""TLS and users with passwords hold for the nodes of a cluster, and for Sentinels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from model_store.bundle import Bundle
from model_store.errors import StoreError
from model_store.registry import Registry
from model_store.store import connect
from tests.app.conftest import AS_ADMIN, publish_and_activate, serving, settings_for
from tests.app.store.conftest import ask, is_up, send
from tests.app.store.link import linked
from tests.app.store.test_store_tls import ANY_HOST, AUTHORITY, server_context
from tests.free_ports import free_ports
from tests.redis_servers import N_SLOTS, Server, running, wait_for

SECRET, SENTINELS_SECRET = "pa-ss-word", "an-other-word"
USERS = [f"user me on >{SECRET} ~lt:* +@all -@dangerous", f"user default on >{SECRET}1 ~* +@all"]


@dataclass(frozen=True)
class Place:
    """A server's socket, as a link needs it."""

    folder: Path

    @property
    def url(self) -> str:
        return f"unix://{self.folder / 'socket'}"

    @property
    def line(self) -> str:
        return f"unixsocket {self.folder / 'socket'}"


def lone_node(place: Place, announced_port: int) -> Server:
    """A cluster of one node, which names a port that isn't its own."""
    port, bus_port = free_ports(2)
    known = f"{1:040x} 127.0.0.1:{port}@{bus_port} myself,master - 0 0 1 connected 0-{N_SLOTS - 1}"
    place.folder.mkdir()
    (place.folder / "nodes.conf").write_text(f"{known}\nvars currentEpoch 1 lastVoteEpoch 0\n")
    lines = [
        "cluster-enabled yes",
        f"cluster-port {bus_port}",
        f"cluster-announce-port {announced_port}",
        *(place.line, *USERS),
    ]
    return Server(place.folder, port, lines, password=f"{SECRET}1")


def check_service(url: str, bundle: Bundle, folder: Path) -> None:
    """Publish, serve, and change something by an operator's client."""
    (folder / "bundles").mkdir()
    publish_and_activate(bundle, folder, url)
    with serving(settings_for(url, folder)) as http:
        assert is_up(http)
        assert ask(http, user_id="u1")["degraded"] == []
        assert send(http, "t", "i1") == []
        assert http.get("/admin/models", headers=AS_ADMIN).json()["active"] == "made-1"


def check_rejection(url: str, folder: Path, said: str) -> None:
    """Neither a command nor the service gets in; neither shows a password."""
    with connect(url) as client, pytest.raises(StoreError) as caught:
        Registry(client).active()
    assert said in str(caught.value)
    with serving(settings_for(url, folder)) as http:
        assert not is_up(http)
        reason = http.get("/health/ready").json()["store_reason"]
    for line in (str(caught.value), reason):
        assert said in line
        assert SECRET not in line


def test_a_cluster_behind_tls_with_users(synthetic_bundle: Bundle, tmp_path: Path) -> None:
    place = Place(tmp_path / "node")
    with linked(place, tls=server_context()) as link:  # type: ignore[arg-type]
        node = lone_node(place, link.port)
        with running([node]):
            wait_for(lambda: node.ask("PING"), "the node does not answer")
            at = f"127.0.0.1:{link.port}"
            trusted = f"{AUTHORITY}&{ANY_HOST}"
            check_service(
                f"rediss+cluster://me:{SECRET}@{at}?{trusted}", synthetic_bundle, tmp_path
            )
            check_rejection(
                f"rediss+cluster://me:wrong@{at}?{trusted}", tmp_path, "invalid username-password"
            )
            check_rejection(
                f"rediss+cluster://me:{SECRET}@{at}", tmp_path, "certificate verify failed"
            )


def test_sentinels_behind_tls_with_passwords(synthetic_bundle: Bundle, tmp_path: Path) -> None:
    place, watch = Place(tmp_path / "server"), Place(tmp_path / "sentinel")
    with (
        linked(place, tls=server_context()) as link,  # type: ignore[arg-type]
        linked(watch, tls=server_context()) as watch_link,  # type: ignore[arg-type]
    ):
        server_port, sentinel_port = free_ports(2)
        server = Server(place.folder, server_port, [place.line, *USERS], password=f"{SECRET}1")
        lines = [
            f"sentinel monitor shop 127.0.0.1 {link.port} 2",
            f"requirepass {SENTINELS_SECRET}",
            watch.line,
        ]
        sentinel = Server(
            watch.folder, sentinel_port, lines, ["--sentinel"], password=SENTINELS_SECRET
        )
        with running([server, sentinel]):
            for one in (server, sentinel):
                wait_for(lambda one=one: one.ask("PING"), "a server does not answer")
            start = f"rediss+sentinel://me:{SECRET}@127.0.0.1:{watch_link.port}/shop?{AUTHORITY}"
            own = f"sentinel_password={SENTINELS_SECRET}"
            check_service(f"{start}&{ANY_HOST}&{own}", synthetic_bundle, tmp_path)
            check_rejection(f"{start}&{ANY_HOST}", tmp_path, "Sentinel")
            check_rejection(f"{start}&{own}", tmp_path, "Sentinel")
