"""What schemathesis cannot know of the machine that it tests: which applications there are, and texts whose rules no
JSON schema holds. It also keeps what it makes up from other machines, other ports, and packages."""

import grp
import itertools
import os
import pwd
import re
import zlib

import schemathesis
from hypothesis import strategies as st

APPS = os.environ["TEST_APPS"].split(",")
# Removing these leaves the others to look at.
EXPENDABLE = os.environ["TEST_EXPENDABLE_APPS"].split(",")
PORT = int(os.environ["TEST_PORT"])
KEY = os.environ["TEST_KEY"]
CALLS = itertools.count()

for name, strategy in {
    "account": st.just("nobody"),
    "certificates": st.just("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
    "cron": st.sampled_from(["@daily", "*/5 * * * *", "0 30 3 * * 1", "15 4 29 2 *"]),
    "directory": st.from_regex(r"\A[a-z]{6,12}\Z"),
    "drain-url": st.sampled_from(["https://127.0.0.1:9/logs", "syslog+tls://127.0.0.1:9", "loki+https://user:word@127.0.0.1:9"]),
    "duration-text": st.integers(1, 3600).map(lambda seconds: f"{seconds}s"),
    "field-name": st.from_regex(r"\AX-[A-Za-z0-9-]{1,20}\Z"),
    "file": st.from_regex(r"\A[a-z]{6,12}\.html\Z"),
    "future": st.integers(1, 36500).map(lambda days: f"{days}d"),
    "group": st.just(grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name),
    "git-ref": st.from_regex(r"\A[a-z0-9]{1,12}(/[a-z0-9]{1,8})?\Z"),
    "git-url": st.sampled_from(["https://127.0.0.1:9/a.git", "ssh://git@127.0.0.1:9/a.git", "git@127.0.0.1:a.git"]),
    "host-name": st.from_regex(r"\A(\*\.)?[a-z0-9]{8}(\.[a-z0-9]{1,8}){0,2}\.example\Z"),
    "host-port": st.sampled_from(["shop.example.org", "localhost:80", "[::1]:8080", "10.0.0.1"]),
    # No application is to expire meanwhile.
    "long-span": st.integers(1, 365).map(lambda days: f"{days}days"),
    "moment": st.sampled_from(["10m", "2h 30m", "2026-11-22T10:15:30Z", "2020-01-01T00:00:00+02:00"]),
    "network": st.sampled_from(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]),
    "notify-url": st.sampled_from(["https://127.0.0.1:9/hook", "http://user:word@127.0.0.1:9", "mailto:ops@example.org"]),
    "password-hash": st.just("$2y$04$RXgmkBVYsk8WQ8oLXcBgJuyuz0IbZuBrVqlQco1qHdOMDxxLGsOqC"),
    "rate": st.builds("{}/{}".format, st.integers(1, 1000000), st.sampled_from("smh")),
    "redirect-from": st.from_regex(r"\A/old/[a-z]{0,8}\Z"),
    "redirect-to": st.sampled_from(["/new", "/new/page?a=b", "https://www.example.org/new"]),
    # Names that differ in more than their case.
    "response-field": st.from_regex(r"\AX-[a-z0-9-]{1,20}\Z"),
    "routed-url": st.sampled_from(["/web/x?y", "http://shop.example/", "localhost:9000/", "https://[::1]:8443/x"]),
    "rust-regex": st.sampled_from(["^a\\.example$", "blog", "[0-9]+\\.example", "(?i)x{2,3}"]),
    "signal": st.sampled_from(["SIGTERM", "INT", "sigquit", "Hup", "SIGUSR1", "USR2", "winch"]),
    "size": st.integers(8, 4096).map(lambda size: f"{size}M"),
    "span": st.integers(10, 60).map(lambda seconds: f"{seconds}s"),
    "ssh-public-key": st.just(KEY),
    "status-range": st.sampled_from(["200", "200-399", "404-404", "500-599"]),
    "time-zone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    "url-path": st.from_regex(r"\A/[a-z0-9]{0,8}\Z"),
    "wildcard-host": st.from_regex(r"\A\*\.[a-z0-9]{8}\.example\Z"),
}.items():
    schemathesis.openapi.format(name, strategy)


@schemathesis.serializer("application/gzip", "application/x-git-upload-pack-request", "application/x-git-receive-pack-request")
def raw(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


def chance(case):
    """A number that is the same in each run."""
    return zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode("utf-8", "replace"))


def is_positive(case, part):
    components = case.meta.components if case.meta else {}
    return all(info.mode.is_positive for where, info in components.items() if where.value == part)


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path
    parameters = case.path_parameters
    if "{name}" in path and is_positive(case, "path") and chance(case) % 8:
        names = EXPENDABLE if case.method.upper() == "DELETE" and "/run/" not in path else APPS
        parameters["name"] = names[chance(case) % len(names)]
    # It has learnt these names from answers.
    elif path == "/applications/{name}" and case.method.upper() == "DELETE" and parameters.get("name") in APPS:
        parameters["name"] = EXPENDABLE[chance(case) % len(EXPENDABLE)]
    if "/run/{id}" in path and is_positive(case, "path") and chance(case) % 4:
        parameters["id"] = f"run.{1 + chance(case) % 20}"
    # What follows does not end by itself.
    if str((case.query or {}).get("follow")).lower() in ("true", "1", ""):
        case.query["follow"] = "false"
    if path == "/events":
        case.query = {"follow": "false"} | dict(case.query or {})
    # A deployment that fails is told as 422 to who waits for it.
    if path in ("/applications", "/applications/{name}", "/applications/{name}/previews") and "Prefer" in (case.headers or {}):
        case.headers["Prefer"] = "respond-async"
    # Wrong tokens lock out who sends them; the server trusts this address to name others.
    number = next(CALLS)
    case.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    if isinstance(case.body, dict):
        if path == "/applications/{name}" and is_positive(case, "body") and "name" in case.body:
            case.body["name"] = parameters["name"]
        tame(case.body)


def tame(document):
    """Leaves a valid document valid, and an invalid one invalid."""
    # There is none.
    if document.get("engine") == "swarm":
        document["engine"] = "local"
    # Only the server says what is a preview.
    preview = document.get("preview")
    if isinstance(preview, dict) and set(preview) <= {"of", "expires"}:
        texts = [(preview.get("of"), r"[a-z0-9][a-z0-9-]*"), (preview.get("expires", "1days"), r"[1-9][0-9]{0,2}(s|days)")]
        if all(isinstance(text, str) and re.fullmatch(rule, text) for text, rule in texts):
            del document["preview"]
    repo = document.get("repo")
    if isinstance(repo, dict) and isinstance(repo.get("url"), str):
        repo["url"] = re.sub(r"^(https?|ssh|git)://[^/]*", r"\1://127.0.0.1:9", repo["url"])
    if isinstance(document.get("packages"), list):
        known = re.compile(r"[a-z0-9][a-z0-9+.-]+")
        document["packages"] = [
            "git" if isinstance(package, str) and known.match(package) else package for package in document["packages"]
        ]
    redirects = document["redirects"] if isinstance(document.get("redirects"), list) else []
    for redirect in redirects:
        # What stands for the star is there only where both have one.
        ends = [redirect.get(end) for end in ("from", "to")] if isinstance(redirect, dict) else []
        if all(isinstance(end, str) for end in ends) and [end[-1:] == "*" for end in ends] == [False, True]:
            redirect["to"] = redirect["to"][:-1]
    for field in ("hosts", "shared", "cron"):
        make_different(document.get(field))
    for field in ("drains", "notify"):
        receivers = document[field] if isinstance(document.get(field), list) else []
        for at, receiver in enumerate(receivers):
            # Each drain is there once.
            if isinstance(receiver, dict) and isinstance(receiver.get("url"), str):
                host = r"^([a-z+]+://(?:[a-z:]+@)?)[a-z0-9.]+(?::[0-9]+)?(?=/|$)"
                receiver["url"] = re.sub(host, rf"\g<1>127.0.0.1:{9 + at}", receiver["url"])
    port = document.get("port")
    if type(port) in (int, float) and 1 <= port <= 65535:
        document["port"] = PORT


def make_different(items):
    """Gives what must not be there twice another name."""
    known = set()
    for at, item in enumerate(items if isinstance(items, list) else []):
        name = item.get("name") if isinstance(item, dict) else item
        if isinstance(name, str) and name in known and re.fullmatch(r"[a-z][a-z0-9.-]*", name):
            name = f"x{at}{name}"[:40]
            if isinstance(item, dict):
                item["name"] = name
            else:
                items[at] = name
        known.add(str(name))
