"""A checkout needs nothing of the machine it was written on."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.contracts.tree import ROOT, source_files, source_texts

# Put together here, so that this file is not its own finding.
MACHINE_FOLDERS = [f"/{name}/" for name in ("work", "tmp", "root", "home", "Users", "mnt")]
MACHINE_PATH = re.compile(
    r"(?<![\w.~$}/-])(?:" + "|".join(map(re.escape, MACHINE_FOLDERS)) + r")[\w.]"
)
URL = re.compile(r"\b(?:https?|rediss?)://[^\s\"'`<>()\[\]{}\\,]+")
INDEX_OPTION = re.compile(r"(?:index-url|INDEX_URL|find-links|FIND_LINKS|trusted-host)\s*[= ]\s*\S")
# Hosts that stand for one of the reader's own: of compose.yaml, or of an example.
OWN_HOSTS = {"localhost", "redis", "store", "vllm"}
IMAGE_FILES = {"Dockerfile", "compose.yaml"}  # their paths are inside an image


def find_machine_paths(text: str) -> list[str]:
    return [match.group() for match in MACHINE_PATH.finditer(text)]


def find_private_urls(text: str, *, is_test: bool = False) -> Iterator[str]:
    """URLs that mean something on one machine or network only, or are a package index.

    Tests may make up hosts of one word.
    """
    for url in URL.findall(text):
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:  # a test's example of what is no URL
            continue
        if not host or host in OWN_HOSTS:
            continue
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            is_index = parts.path.rstrip("/").endswith(("/simple", "/whl"))
            is_bare = "." not in host and not is_test
            if is_bare or is_index or host.endswith((".internal", ".local", ".lan")):
                yield url
            continue
        documentation = any(
            address in ipaddress.ip_network(network)
            for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "0.0.0.0/32")
            if address.version == 4
        )
        if not address.is_loopback and not documentation:
            yield url


def test_the_checks_find_what_they_are_for() -> None:
    folder = MACHINE_FOLDERS[0]
    assert find_machine_paths(f"open('{folder}data.csv')")
    assert find_machine_paths(f"cd {folder}main")
    assert not find_machine_paths(f"https://example.org{folder}x and a{folder}x")
    index = "http://" + "10.1.2.3:8080/index"
    assert list(find_private_urls(f"pip install from {index}")) == [index]
    assert list(find_private_urls("http://" + "mirror/simple/")) != []
    assert list(find_private_urls("https://" + "mirror.example.org/root/simple/")) != []
    assert list(find_private_urls("http://127.0.0.1:8000 https://example.org/x")) == []
    assert INDEX_OPTION.search("pip install --index" + "-url https://x")


def test_no_file_names_a_path_of_one_machine() -> None:
    found = {
        path: paths
        for path, text in source_texts()
        if path not in IMAGE_FILES and (paths := find_machine_paths(text))
    }
    assert found == {}


def test_no_file_names_a_private_host_or_a_package_index() -> None:
    found = {
        path: urls
        for path, text in source_texts()
        if (urls := [*find_private_urls(text, is_test=path.startswith("tests/"))])
    }
    assert found == {}
    options = {
        path: match.group() for path, text in source_texts() if (match := INDEX_OPTION.search(text))
    }
    assert options == {}


def test_pinned_packages_come_by_name_and_version_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert pins
    wrong = [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.!]+(\s*;.*)?", pin)]
    assert wrong == []


def test_nothing_links_to_outside_the_checkout() -> None:
    outside = [
        str(path.relative_to(ROOT))
        for path in source_files()
        if path.is_symlink() and not path.resolve().is_relative_to(ROOT)
    ]
    assert outside == []


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    for section in ("9. Accepting Warranty or Additional Liability", "END OF TERMS AND CONDITIONS"):
        assert section in text
