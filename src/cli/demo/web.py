# The web process of "procserver demo --swarm".
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with open("greeting") as file:
            greeting = file.read().strip()
        process, release = os.environ["PS"], os.environ["PROCSERVER_RELEASE"]
        body = f"{greeting} This is {process} of release {release}, in container {socket.gethostname()}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_):
        print(self.command, self.path, flush=True)


# A process of a swarm has a network of its own, where nobody reaches its 127.0.0.1.
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
