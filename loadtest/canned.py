"""A minimal server that sends the same bytes for every request. It shows the client's limit.

Run as `python -m loadtest.canned --port PORT`; a child of the benchmark.
"""

from __future__ import annotations

import argparse
import selectors
import socket

BODY = b'{"items":[' + b",".join([b'{"item_id":"0","rank":1,"score":0.5}'] * 10) + b"]}"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def serve(port: int) -> None:
    """Answer until killed; the bytes of one `recv` are one request."""
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ, connection)
            elif key.data.recv(65_536):
                key.data.send(ANSWER)
            else:
                selector.unregister(key.data)
                key.data.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)
