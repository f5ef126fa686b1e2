"""The store's URL: what is read of it, and that its secrets are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import ConfigError
from model_store.redaction import redact_urls, redacted
from model_store.store import connect
from model_store.store_url import StoreUrl, store_url_from
from model_store.tls import OPTIONS

CERTIFICATES = Path(__file__).parents[1] / "app" / "store" / "tls"
STORE_PEM = CERTIFICATES / "store.pem"
SECRET = "pa-ss-word"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", ("localhost", 6379, None, 0, None, None)),
        ("redis://h", ("h", 6379, None, 0, None, None)),
        ("REDIS://h:1/2\n", ("h", 1, None, 2, None, None)),
        ("redis://:s%2Fe@h/", ("h", 6379, None, 0, None, "s/e")),
        ("redis://me:a:b@[::1]:7/3", ("::1", 7, None, 3, "me", "a:b")),
        ("redis://h?db=4", ("h", 6379, None, 4, None, None)),
        ("redis://h/4?db=4&password=s", ("h", 6379, None, 4, None, "s")),
        ("rediss://h:1/0", ("h", 1, None, 0, None, None)),
        ("unix:///run/a%20b?db=1", ("localhost", 6379, "/run/a b", 1, None, None)),
        ("unix://me:s@/run/x", ("localhost", 6379, "/run/x", 0, "me", "s")),
        ("unix:///srv/a@b/x", ("localhost", 6379, "/srv/a@b/x", 0, None, None)),
    ],
)
def test_what_a_url_says(url: str, expected: tuple[object, ...]) -> None:
    at = StoreUrl.parse(url)
    assert (at.host, at.port, at.path, at.db, at.username, at.password) == expected
    assert StoreUrl.parse(at.reveal()) == at
    options = connect(url).connection_pool.connection_kwargs
    assert options.get("path", at.path) == at.path
    assert (options["db"], options["username"], options["password"]) == expected[3:]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"redis://:{SECRET}/x@h/0", "percent-encoded"),
        (f"redis://:{SECRET}?x@h/0", "percent-encoded"),
        (f"redis://:{SECRET}#x@h/0", "percent-encoded"),
        (f"redis://:{SECRET}[x@h/0", "percent-encoded"),
        (f"redis://:12/{SECRET}@h/0", "percent-encoded"),
        (f"redis://:{SECRET}", "the port is not a number"),
        (f"redis://me:{SECRET}@h/0abc", "database '0abc' is not a number"),
        (f"redis://:{SECRET}@h/0/1", "is not a number"),
        (f"redis://:{SECRET}@h/-1", "is not a number"),
        (f"redis://:{SECRET}@h/1?db=2", "names two databases"),
        (f"redis://:{SECRET}@h:99999/0", "the port is not a number"),
        (f"redis://h?password={SECRET}&db=x", "is not a number"),
        (f"redis://h?password={SECRET}&password=x", "option password needs one value"),
        (f"redis://:{SECRET}@h?socket_timeout=3", "option socket_timeout is not known"),
        (f"redis://:{SECRET}@h?ssl_ca_certs=/x", "option ssl_ca_certs needs rediss://"),
        (
            f"redis+sentinel://:{SECRET}@h",
            "redis+sentinel:// needs the name by which the Sentinels",
        ),
        (f"redis+sentinel://:{SECRET}@h/a/b", "needs the name by which the Sentinels"),
        (f"redis+sentinel://:{SECRET}@h/a?db=x", "database 'x' is not a number"),
        (f"redis+cluster://:{SECRET}@h:1,h:x", "the port is not a number"),
        (f"redis+cluster://:{SECRET}@h:1,", "redis+cluster:// needs hosts, as in redis+cluster://"),
        (f"redis+cluster://:{SECRET}@h/2", "a cluster has no other database than 0"),
        (f"redis://h?sentinel_password={SECRET}", "sentinel_password needs redis+sentinel://"),
        (f"redis+cluster://:{SECRET}@h?ssl_ca_certs=/x", "option ssl_ca_certs needs rediss://"),
        (f"http://:{SECRET}@h", "starts with none of redis://, rediss://, unix://"),
        (f"redis:/{SECRET}", "starts with none of"),
        (SECRET, "starts with none of"),
        ("redis://me@h", "names user 'me' without a password; give one as LONGTAIL_REDIS_PASSWORD"),
        ("unix://run/x", "needs the absolute path"),
        ("unix://", "needs the absolute path"),
        (f"rediss://:{SECRET}@h?ssl_ca_certs=/nowhere/ca.pem", "option ssl_ca_certs='/nowhere/ca."),
        (f"rediss://:{SECRET}@h?ssl_ca_certs={__file__}", "option ssl_ca_certs="),
        (f"rediss://:{SECRET}@h?ssl_certfile={STORE_PEM}", "option ssl_certfile="),
        (f"rediss://:{SECRET}@h?ssl_certfile=/nowhere", "option ssl_certfile='/nowhere': No such"),
        (f"rediss://:{SECRET}@h?ssl_keyfile={STORE_PEM}", "ssl_keyfile needs ssl_certfile"),
        (f"rediss://:{SECRET}@h?ssl_cert_reqs=perhaps", "ssl_cert_reqs='perhaps' is none of"),
        (f"rediss://:{SECRET}@h?ssl_check_hostname=2", "ssl_check_hostname='2' is neither"),
        (f"rediss://:{SECRET}@h?ssl_ciphers=x", "option ssl_ciphers is not known"),
    ],
)
def test_a_url_that_cant_be_used_is_one_line_without_its_password(url: str, said: str) -> None:
    for use in (StoreUrl.parse, connect):
        with pytest.raises(ConfigError) as caught:
            use(url)
        line = str(caught.value)
        assert line.startswith("LONGTAIL_REDIS_URL=")
        assert said in line
        assert "\n" not in line
        assert SECRET not in line
        assert caught.value.__cause__ is None
    assert SECRET not in redacted(url)


@pytest.mark.parametrize(
    ("url", "hosts", "shown"),
    [
        (
            f"redis+cluster://me:{SECRET}@h1:1,[::1]:2",
            (("h1", 1), ("::1", 2)),
            "redis+cluster://me:***@h1:1,[::1]:2",
        ),
        (
            "rediss+cluster://h1,h2/",
            (("h1", 6379), ("h2", 6379)),
            "rediss+cluster://h1:6379,h2:6379",
        ),
        (
            f"redis+sentinel://:s,e@h1,h2:3/main?db=2&sentinel_username=w&sentinel_password={SECRET}",
            (("h1", 26379), ("h2", 3)),
            "redis+sentinel://:***@h1:26379,h2:3/main?db=2&sentinel_username=w",
        ),
    ],
)
def test_urls_of_several_servers(url: str, hosts: tuple[tuple[str, int], ...], shown: str) -> None:
    at = StoreUrl.parse(url)
    assert at.hosts == hosts
    assert StoreUrl.parse(at.reveal()) == at
    assert str(at) == shown
    assert at.node("n", 7).reveal().startswith(url[: url.index("+")] + "://")
    assert (at.node("n", 7).password, at.node("n", 7).tls) == (at.password, at.tls)
    assert at.sentinel("n", 7).password == at.sentinel_password
    assert SECRET not in f"{connect(at)!r}"


def test_a_url_is_shown_without_its_passwords() -> None:
    url = StoreUrl.parse(
        f"rediss://me:{SECRET}@h:1/2?ssl_ca_certs={STORE_PEM}&ssl_password={SECRET}&ssl_cert_reqs=none"
    )
    shown = f"rediss://me:***@h:1/2?ssl_ca_certs={STORE_PEM}&ssl_cert_reqs=none"
    assert str(url) == repr(url) == shown
    assert SECRET not in f"{url!r} {url} {vars(type(url))} {url.tls!r} {connect(url)!r}"
    assert StoreUrl.parse(url.reveal()) == url


def test_a_variable_gives_the_password() -> None:
    def read(url: str, password: str) -> StoreUrl | None:
        return store_url_from({"LONGTAIL_REDIS_URL": url, "LONGTAIL_REDIS_PASSWORD": password})

    given = read("redis://me@h/1", "p/a?s@s\n")
    assert given is not None
    assert (given.username, given.password, given.db) == ("me", "p/a?s@s", 1)
    same = read("redis://:s@h", "s")
    assert same is not None
    assert same.password == "s"
    assert read("", "s") is None
    assert store_url_from({}) is None
    with pytest.raises(
        ConfigError, match="another password than LONGTAIL_REDIS_PASSWORD"
    ) as caught:
        read(f"redis://:{SECRET}@h", "other-secret")
    assert SECRET not in str(caught.value)
    assert "other-secret" not in str(caught.value)


def test_tls_options_mean_the_same_for_both_clients() -> None:
    query = (
        f"ssl_ca_certs={STORE_PEM}&ssl_certfile={CERTIFICATES / 'client.pem'}"
        f"&ssl_keyfile={CERTIFICATES / 'client.key'}&ssl_check_hostname=false"
    )
    url = StoreUrl.parse(f"rediss://h?{query}")
    assert url.tls is not None
    context = url.tls.context()
    ours = connect(url).connection_pool.make_connection()
    assert context.check_hostname is ours.check_hostname is False
    assert context.verify_mode == ours.cert_reqs
    assert (ours.ca_certs, ours.certfile, ours.keyfile) == (
        str(STORE_PEM),
        str(CERTIFICATES / "client.pem"),
        str(CERTIFICATES / "client.key"),
    )
    assert set(url.tls.client_options()) == {"ssl", *OPTIONS}
    for value, checked in (("none", False), ("CERT_NONE", False), ("required", True)):
        url = StoreUrl.parse(f"rediss://h?ssl_cert_reqs={value}")
        assert url.tls is not None
        ours = connect(url).connection_pool.make_connection()
        assert url.tls.context().verify_mode == ours.cert_reqs
        assert url.tls.context().check_hostname is ours.check_hostname is checked


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h:80/a%20b", "http://h:80/a%20b"),
        (f"https://me:{SECRET}@h/x", "https://***@h/x"),
        (f"https://h/x?token={SECRET}", "https://***"),
        (f"https://{SECRET}@h?x#y", "https://***@h"),
    ],
)
def test_any_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_a_message_is_shown_without_the_users_in_its_urls() -> None:
    message = f"can't open 'http://me:{SECRET}@h/x' nor redis://:{SECRET}@h, write to me@h"
    shown = "can't open 'http://***@h/x' nor redis://***@h, write to me@h"
    assert redact_urls(message) == shown
