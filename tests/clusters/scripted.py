"""An HTTP server that answers what a test tells it to, and remembers what it was asked."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .kubeconfigs import kubeconfig

DISCOVERY = {
    "/api/v1": {
        "resources": [
            {"name": "pods", "kind": "Pod", "namespaced": True},
            {"name": "pods/log", "kind": "Pod", "namespaced": True},
            {"name": "namespaces", "kind": "Namespace", "namespaced": False},
        ]
    }
}


def status(code, reason="", message="no", **details):
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return code, {"Content-Type": "application/json"}, [json.dumps(body).encode()]


def good(body):
    return 200, {"Content-Type": "application/json"}, [json.dumps(body).encode()]


def lines(*events, then_break=False):
    """A chunked stream; with `then_break` the connection ends without the last chunk."""
    chunks = [e if isinstance(e, bytes) else json.dumps(e).encode() + b"\n" for e in events]
    return 200, {"Transfer-Encoding": "chunked", "X-Break": str(then_break)}, chunks


class ScriptedServer:
    """`answers`: path → answer, or a list of answers given one after the other."""

    def __init__(self):
        self.answers = {path: good(body) for path, body in DISCOVERY.items()}
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                outer.answer(self)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}"

    @property
    def kubeconfig(self):
        return kubeconfig(server=self.url)

    def answer(self, handler):
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.requests.append((handler.command, parts.path, query, dict(handler.headers), body))
        found = self.answers.get(parts.path, status(404, "NotFound"))
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        code, headers, chunks = found
        handler.send_response(code)
        chunked = headers.get("Transfer-Encoding") == "chunked"
        for name, value in headers.items():
            handler.send_header(name, value)
        if not chunked:
            handler.send_header("Content-Length", str(sum(map(len, chunks))))
        handler.end_headers()
        for chunk in chunks:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
            handler.wfile.flush()
        if chunked and headers["X-Break"] == "True":
            handler.close_connection = True
            handler.connection.close()
        elif chunked:
            handler.wfile.write(b"0\r\n\r\n")

    def close(self):
        self.http.shutdown()
        self.http.server_close()
