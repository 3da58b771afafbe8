"""The witness over HTTP, on the loopback address unless told otherwise: POST /add-checkpoint, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import ClassVar

from organs.witness.witness import Witness
from shared.constant import constant
from shared.errors import Fault, InUse
from shared.journal import record
from shared.log.witness import MAX_REQUEST_BYTES, PATH, TEXT_TYPE, Answer

LOOPBACK = constant("127.0.0.1", "address", "X-04")
POLL_S = constant(0.05, "s", "X-04")
CLIENT_SILENCE_S = constant(5.0, "s", "X-12")
REQUEST_S = constant(20.0, "s", "X-12")
REQUESTS_AT_ONCE = constant(32, "requests", "X-12")


def serve(witness: Witness, host: str = LOOPBACK, port: int = 0) -> tuple[str, Callable[[], None]]:
    """Answer requests on threads; return the address and the close. Port 0 takes a free one; InUse if it is taken."""

    class Handler(_Handler):
        asked: ClassVar[Witness] = witness

    try:
        server = _Server((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise InUse(f"the witness cannot listen on {host}:{port} ({error}); choose another address") from error
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), name="witness", daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return f"http://{host}:{server.server_port}", close


class _Server(ThreadingHTTPServer):
    """Answers so many requests at once; more are turned away, so that slow clients cannot pile up threads."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(REQUESTS_AT_ONCE)
        super().__init__(address, handler)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        late = threading.Timer(REQUEST_S, self.shutdown_request, (request,))
        late.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            late.cancel()
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is nobody's trouble."""


class _Handler(BaseHTTPRequestHandler):
    """One request of one client."""

    asked: ClassVar[Witness]
    timeout = CLIENT_SILENCE_S
    server_version = "nimmerverse-witness"
    sys_version = ""

    def do_POST(self) -> None:
        """Judge a checkpoint."""
        self._give(self._answer())

    def do_GET(self) -> None:
        """Say what can be asked here."""
        self._give(Answer(405, TEXT_TYPE, f"POST {PATH}\n".encode()))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: whatever matters is counted or journalled."""

    def _answer(self) -> Answer:
        length = self.headers.get("Content-Length", "")
        if self.path != PATH:
            return Answer(404, TEXT_TYPE, f"POST {PATH}\n".encode())
        if not (length.isascii() and length.isdigit()):
            return Answer(411, TEXT_TYPE, b"say Content-Length\n")
        if len(length) > len(str(MAX_REQUEST_BYTES)) or int(length) > MAX_REQUEST_BYTES:
            return Answer(413, TEXT_TYPE, f"at most {MAX_REQUEST_BYTES} bytes are read\n".encode())
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return Answer(400, TEXT_TYPE, b"the request ends too early\n")
        try:
            return self.asked.add_checkpoint(body)
        except Fault as fault:  # not remembered, so not cosigned
            record("witness", "witness_stuck", detail=str(fault))
            return Answer(503, TEXT_TYPE, b"the witness cannot remember; try later\n")

    def _give(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
