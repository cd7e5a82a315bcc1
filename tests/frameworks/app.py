"""Behaves as frameworks do: it knows its hosts, forces TLS, and writes to the directories of its code."""

import http.server
import json
import os
import pathlib

with open("framework.json", encoding="utf-8") as file:
    FRAMEWORK = json.load(file)

for name in FRAMEWORK["writes"]:
    # It makes no directories: a checkout of the real one has them.
    pathlib.Path(name).write_text("written at the start\n", encoding="utf-8")


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, text, **fields):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        host = self.headers.get("Host", "").split(":")[0]
        if host not in FRAMEWORK["hosts"]:
            return self.answer(400, f"Blocked host: {host}")
        if self.headers.get("X-Forwarded-Proto") != "https":
            return self.answer(301, "", Location=f"https://{host}{self.path}")
        if self.path == "/upload":
            pathlib.Path(FRAMEWORK["uploads"], "upload").write_text("kept", encoding="utf-8")
        return self.answer(200, f"{FRAMEWORK['name']} {self.path}")


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
