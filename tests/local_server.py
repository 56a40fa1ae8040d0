"""A file server on 127.0.0.1 for download tests."""

import hashlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def serve(files: dict[str, bytes], cut: int | None = None):
    """Serve files by path, with byte ranges; with `cut` the first answer ends after so many bytes.

    Yields (url, requests).
    """
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(dict(self.headers))
            body = files.get(self.path.lstrip("/"))
            if body is None:
                return self.send_error(404)
            tag = f'"{hashlib.md5(body).hexdigest()}"'
            start = 0
            if "Range" in self.headers and self.headers.get("If-Range", tag) == tag:
                start = int(self.headers["Range"][6:-1])
            if start and start >= len(body):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start:][: cut if len(requests) == 1 else None])
            self.close_connection = True

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
