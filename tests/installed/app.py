"""The application of the trial: answers who it is, and leaves a note when it was asked to stop."""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        text = f"{os.environ['PS']} {os.getpid()} release {os.environ['PROCSERVER_RELEASE']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def stop(*_):
    # A grace that it needs, well below the ten seconds that it has.
    time.sleep(1)
    Path(os.environ["STORAGE_DIR"], f"stopped-{os.environ['PS']}-{os.getpid()}").touch()
    os._exit(0)


signal.signal(signal.SIGTERM, stop)
if sys.argv[1:] == ["worker"]:
    threading.Event().wait()
# Python's own is 5: the proxy's connections would wait in vain.
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
