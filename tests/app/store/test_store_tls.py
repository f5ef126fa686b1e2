"""TLS to the store: the same URL works for the service, for publishing and for `models`."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from model_store.embedded import EmbeddedStore
from model_store.errors import StoreAway
from model_store.registry import Registry
from model_store.store import connect
from tests.app.conftest import AS_ADMIN, serving, settings_for
from tests.app.store.conftest import ask, is_up, send
from tests.app.store.link import linked

CERTIFICATES = Path(__file__).parent / "tls"
AUTHORITY = f"ssl_ca_certs={CERTIFICATES / 'store.pem'}"
ANY_HOST = "ssl_check_hostname=false"
CLIENT = f"ssl_certfile={CERTIFICATES / 'client.pem'}&ssl_keyfile={CERTIFICATES / 'client.key'}"


def server_context(*, with_clients: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "store.pem", CERTIFICATES / "store.key")
    if with_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(CERTIFICATES / "client.pem")
    return context


@pytest.mark.parametrize(
    ("options", "with_clients"),
    [
        (f"{AUTHORITY}&{ANY_HOST}", False),
        ("ssl_cert_reqs=none", False),
        (f"{AUTHORITY}&{ANY_HOST}&{CLIENT}", True),
    ],
)
def test_a_store_behind_tls(
    own_store: EmbeddedStore, tmp_path: Path, options: str, with_clients: bool
) -> None:
    with linked(own_store, tls=server_context(with_clients=with_clients)) as link:
        url = f"rediss://127.0.0.1:{link.port}/0?{options}"
        with connect(url) as client:
            assert Registry(client).active() == "made-1"
        with serving(settings_for(url, tmp_path)) as http:
            assert is_up(http)
            assert ask(http, user_id="u1")["degraded"] == []
            assert send(http, "t", "i1") == []
            assert http.get("/admin/models", headers=AS_ADMIN).json()["active"] == "made-1"


@pytest.mark.parametrize("options", [AUTHORITY, ANY_HOST, ""])
def test_a_certificate_that_doesnt_fit_is_a_loud_line(
    own_store: EmbeddedStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, options: str
) -> None:
    with serving(settings_for(own_store.url, tmp_path)):
        pass
    caplog.clear()
    with linked(own_store, tls=server_context()) as link:
        url = f"rediss://127.0.0.1:{link.port}/0?{options}"
        with connect(url) as client, pytest.raises(StoreAway, match="certificate verify failed"):
            Registry(client).active()
        with serving(settings_for(url, tmp_path)) as http:
            assert not is_up(http)
            assert ask(http, user_id="u1")["degraded"] == ["features"]
    [line] = [r.message for r in caplog.records if "STARTING WITHOUT THE STORE" in r.message]
    assert "certificate verify failed" in line
