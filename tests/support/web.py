"""The application of the integration tests: an HTTP server whose paths make it misbehave. Only the standard library."""

import errno
import http.server
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse

CRASH_MARK = os.path.join(os.environ.get("STORAGE_DIR", "/nonexistent"), "crash")


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def echo(self, query, body):
        with open("VERSION", encoding="utf-8") as version:
            return {
                "version": version.read().strip(),
                "method": self.command,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode("utf-8", "replace"),
                "env": dict(os.environ),
                "pid": os.getpid(),
                "uid": os.getuid(),
                "groups": os.getgroups(),
                "cwd": os.getcwd(),
            }

    def print(self, query, body):
        """Writes a line to stdout or stderr."""
        stream = sys.stderr if query.get("to") == "stderr" else sys.stdout
        print(query["text"], file=stream, flush=True)
        return {}

    def write(self, query, body):
        """Writes a file; says why when it cannot."""
        try:
            with open(os.path.expandvars(query["file"]), "w", encoding="utf-8") as file:
                file.write("written")
        except OSError as error:
            return {"error": errno.errorcode[error.errno]}
        return {"error": None}

    def spawn(self, query, body):
        """Leaves children behind in the ways that are easily missed: same group, own session, double fork."""
        plain = subprocess.Popen(["sleep", "600"])
        session = subprocess.Popen(["sleep", "600"], start_new_session=True)
        orphan = subprocess.run(
            ["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE, check=True
        )
        return {"children": [plain.pid, session.pid, int(orphan.stdout)]}

    def exit(self, query, body):
        """Ends without an answer."""
        os._exit(int(query["code"]))

    def crash(self, query, body):
        """Ends, and does so at once on every start from now on."""
        with open(CRASH_MARK, "w", encoding="utf-8"):
            os._exit(3)

    def tunnel(self):
        """Becomes an echo of bytes."""
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "echo")
        self.end_headers()
        while data := self.rfile.read1(65536):
            self.wfile.write(data)
        self.close_connection = True

    def download(self):
        """Sends its end once a file is there."""
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"head\n")
        while not os.path.exists(os.path.join(os.environ["STORAGE_DIR"], "go")):
            time.sleep(0.02)
        self.wfile.write(b"tail\n")

    def do_GET(self):
        if self.headers.get("Upgrade") == "echo":
            return self.tunnel()
        url = urllib.parse.urlsplit(self.path)
        if url.path.strip("/") == "download":
            return self.download()
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        action = {"print": self.print, "write": self.write, "spawn": self.spawn, "exit": self.exit, "crash": self.crash}
        answer = json.dumps(action.get(url.path.strip("/"), self.echo)(query, body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *args):
        """Nothing: the logs hold only what a test printed."""


if os.path.exists(CRASH_MARK):
    print("dying on purpose", file=sys.stderr, flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
# As many as a load may open at once: by default five wait, and the kernel lets the others try again for a minute.
http.server.ThreadingHTTPServer.request_queue_size = 512
# A container has a loopback of its own.
ADDRESS = (os.environ.get("LISTEN", "127.0.0.1"), int(os.environ["PORT"]))
http.server.ThreadingHTTPServer(ADDRESS, App).serve_forever()
