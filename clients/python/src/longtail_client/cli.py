"""`longtail mcp`, which is also the program `longtail-mcp` where nothing else is installed."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec

URL = "LONGTAIL_URL"
KEY = "LONGTAIL_CALLER_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8001

_ABOUT = (
    "Offer a running service to a language model as tools of the Model Context Protocol:\n"
    "recommend, similar_items and explain. Speaks over stdin and stdout, or with --http over\n"
    f"streamable HTTP. {KEY} has the caller's key, where the service requires one."
)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this package's commands."""
    mcp = subparsers.add_parser(
        "mcp",
        help="offer recommendations to a language model as tools (MCP)",
        description=_ABOUT,
        epilog=_examples("longtail mcp"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_flags(mcp)
    mcp.set_defaults(run=run)


def main(argv: Sequence[str] | None = None) -> int:
    """The program `longtail-mcp`."""
    parser = argparse.ArgumentParser(
        prog="longtail-mcp",
        description=_ABOUT,
        epilog=_examples("longtail-mcp"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_flags(parser)
    try:
        return run(parser.parse_args(argv))
    except KeyboardInterrupt:
        return 130


def run(arguments: argparse.Namespace) -> int:
    """Serve the tools until the language model's program ends; returns 0, or 1 on an error."""
    for flag in ("host", "port"):
        if getattr(arguments, flag) is not None and not arguments.http:
            return _fail(f"--{flag} goes with --http")
    if find_spec("mcp") is None:
        return _fail("the package 'mcp' is not installed: pip install 'longtail-client[mcp]'")
    from longtail_client.async_client import AsyncClient
    from longtail_client.mcp_server import make_server

    try:
        client = AsyncClient(arguments.url, api_key=os.environ.get(KEY))
    except ValueError as error:
        return _fail(str(error).replace("api_key", KEY))
    server = make_server(client)
    if arguments.http:
        host = arguments.host or DEFAULT_HOST
        port = arguments.port or DEFAULT_PORT
        if reason := _why_not(host, port):
            return _fail(f"can't listen on {host}:{port}: {reason}")
        server.run("streamable-http", host=host, port=port)
    else:
        server.run("stdio")
    return 0


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        default=os.environ.get(URL) or DEFAULT_URL,
        help=f"the service ({URL}, else {DEFAULT_URL})",
    )
    parser.add_argument("--http", action="store_true", help="serve at /mcp instead of over stdio")
    parser.add_argument("--host", help=f"with --http: address to listen on ({DEFAULT_HOST})")
    parser.add_argument(
        "--port", type=_port, help=f"with --http: port to listen on ({DEFAULT_PORT})"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to 65535")
    return int(text)


def _why_not(host: str, port: int) -> str | None:
    """Why nobody can listen there; None if one can. The server itself would end with its trace."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror
    return None


def _examples(command: str) -> str:
    return (
        "examples:\n"
        f"  {command}\n"
        f"  {command} --url http://recommendations.example:8000\n"
        f"  {command} --http --port 8001"
    )


def _fail(message: str) -> int:
    print(f"longtail mcp: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
