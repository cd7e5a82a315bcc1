#!/usr/bin/env python3
"""What it costs to send logs on: lines of 100 bytes by syslog over TCP to a sink on this machine, by `procserver serve`
and by rsyslog's imfile with omfwd, in turn. Root, rsyslogd, and a release build (`cargo build --release`):

    benches/drains.py [LINES [ROUNDS]]

Lines are written first, at once: by an application while its receiver is away, into the file that imfile reads. Then the
sink is there, and each has to bring all of them. CPU is that of the process until the last line is at the sink, user and
system, from /proc; the time is from the first byte on.
"""
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

LINES = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../target/release/procserver")
TEXT = "x" * 88
TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def listening(port=0):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def sink(listener, pid, begin):
    """Takes all lines; answers CPU seconds of `pid` and seconds."""
    listener.listen(8)
    begin()
    cpu_before = cpu(pid)
    listener.settimeout(120)
    connection, _ = listener.accept()
    connection.settimeout(120)
    started, count, tail = None, 0, b""
    last = f"{LINES:09}".encode() + b" "
    while True:
        piece = connection.recv(1 << 20)
        assert piece, f"closed after {count} lines"
        if started is None:
            started = time.monotonic()
        count += piece.count(b" line ")
        if last in tail + piece:
            break
        tail = piece[-16:]
    took, used = time.monotonic() - started, cpu(pid) - cpu_before
    connection.close()
    listener.close()
    return used, took


def procserver(home):
    port = listening()
    address = port.getsockname()[1]
    data = os.path.join(home, "data")
    repo = os.path.join(home, "repo")
    os.makedirs(repo)
    program = (
        "import os,time\n"
        "while not os.path.exists(os.environ['STORAGE_DIR']+'/go'): time.sleep(0.05)\n"
        f"for n in range(1, {LINES}+1, 1000):\n"
        f"    print('\\n'.join(f'line {{k:09}} {TEXT}' for k in range(n, n+1000)), flush=True)\n"
        "time.sleep(10**6)\n"
    )
    open(os.path.join(repo, "main.py"), "w").write(program)
    open(os.path.join(repo, "Procfile"), "w").write("job: exec python3 main.py\n")
    git = ["git", "-C", repo, "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(git + words, check=True)
    log = open(os.path.join(home, "log"), "w")
    flags = ["--listen", "127.0.0.1:0", "--data-dir", data, "--allow-file-repos", "true", "--default-user", "www-data",
             "--log-size", "1G", "--log-files", "2"]
    server = subprocess.Popen([PROGRAM, "serve", *flags], stdout=log, stderr=log)
    try:
        api = os.path.join(data, "run/procserver.sock")
        while not os.path.exists(api):
            time.sleep(0.05)
        document = {"name": "a", "repo": {"url": repo}, "drains": [{"url": f"syslog+tcp://127.0.0.1:{address}"}]}
        file = os.path.join(home, "a.json")
        json.dump(document, open(file, "w"))
        environment = {**os.environ, "PROCSERVER_URL": f"unix:{api}"}
        subprocess.run([PROGRAM, "create", file], env=environment, check=True, stdout=log, stderr=log)
        open(os.path.join(data, "apps/a/storage/go"), "w").close()
        def drain():
            out = subprocess.run([PROGRAM, "drains", "a", "--json"], env=environment, check=True, capture_output=True)
            return json.loads(out.stdout)[0]
        while drain()["waiting"] < LINES:
            time.sleep(0.2)
        return sink(port, server.pid, lambda: None)
    finally:
        server.terminate()
        server.wait()


def rsyslog(home):
    port = listening()
    address = port.getsockname()[1]
    source = os.path.join(home, "lines")
    with open(source, "w") as file:
        for number in range(1, LINES + 1):
            file.write(f"line {number:09} {TEXT}\n")
    config = os.path.join(home, "conf")
    open(config, "w").write(
        f'global(workDirectory="{home}")\nmodule(load="imfile")\n'
        f'input(type="imfile" file="{source}" tag="a" reopenOnTruncate="on")\n'
        f'action(type="omfwd" target="127.0.0.1" port="{address}" protocol="tcp" tcp_framing="octet-counted" '
        'template="RSYSLOG_SyslogProtocol23Format")\n'
    )
    child = []
    def begin():
        words = ["rsyslogd", "-n", "-f", config, "-i", os.path.join(home, "pid")]
        child.append(subprocess.Popen(words, stderr=subprocess.DEVNULL))
    class Later:
        def __str__(self):
            return str(child[0].pid)
    try:
        return sink(port, Later(), begin)
    finally:
        child[0].send_signal(signal.SIGTERM)
        child[0].wait()


found = {"procserver": [], "rsyslog": []}
for _ in range(ROUNDS):
    for name, run in (("procserver", procserver), ("rsyslog", rsyslog)):
        home = tempfile.mkdtemp(prefix="drains-bench-")
        os.chmod(home, 0o755)
        try:
            found[name].append(run(home))
        finally:
            shutil.rmtree(home, ignore_errors=True)
print(f"{LINES} lines of 100 bytes, medians of {ROUNDS} rounds\n")
print("| | CPU microseconds per line | lines per second |\n|---|---|---|")
for name, rounds in found.items():
    used = statistics.median(used for used, _ in rounds) / LINES * 1e6
    speed = LINES / statistics.median(took for _, took in rounds)
    print(f"| {name} | {used:.2f} | {speed:,.0f} |")
