"""A plain copy: an Arrow stream that lies in memory, sent over HTTP, and nothing else.

`python -m benchmarks.copy_server SOCKET FILE`: answers every GET with the bytes of FILE.
"""

import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

from benchmarks.parent import end_with_parent


class Copy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    content = memoryview(b"")

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apache.arrow.stream")
        self.send_header("Content-Length", str(self.content.nbytes))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Nothing is said."""

    def address_string(self) -> str:
        return "socket"


if __name__ == "__main__":
    end_with_parent()
    Copy.content = memoryview(Path(sys.argv[2]).read_bytes())
    UnixStreamServer(sys.argv[1], Copy).serve_forever()
