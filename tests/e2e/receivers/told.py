"""Takes notifications: port, account, and a file without which it answers 503."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from typing_extensions import override

PORT, ACCOUNT, OPEN = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])


class Told(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        taken = OPEN.exists()
        line = {
            "taken" if taken else "refused": self.headers["webhook-id"],
            "payload": json.loads(body),
        }
        with ACCOUNT.open("a") as account:
            account.write(json.dumps(line) + "\n")
        self.send_response(204 if taken else 503)
        self.end_headers()

    @override
    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", PORT), Told).serve_forever()
