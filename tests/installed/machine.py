"""A Debian 12 with a systemd of its own, in a folder, booted by systemd-nspawn without any network but loopback."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

SUITE = "bookworm"
# What the package depends on and recommends, and what the trial itself uses: nothing is downloaded afterwards.
PACKAGES = (
    "systemd-sysv dbus apt git git-lfs openssh-client ca-certificates passwd "
    "python3 curl openssl pebble iproute2 procps man-db"
).split()
# The disk of the machine. What is left beside Debian is what applications have.
DISK = "1500M"
# systemd-nspawn forbids them, a machine does not; procserver uses them for applications.
SYSTEM_CALLS = "@keyring landlock_create_ruleset landlock_add_rule landlock_restrict_self"
NEEDED = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "lintian": "lintian",
    "mkfs.ext4": "e2fsprogs",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
PREFIX = "procserver-installed-"
# systemd-nspawn exits so where a service manager (--keep-unit), this program here, is to boot the machine again.
REBOOT = 133
ENVIRONMENT = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
]


class Failed(Exception):
    """An assertion of the trial, or a command, that failed; the text is for the reader."""


def missing_packages():
    return sorted({package for program, package in NEEDED.items() if not shutil.which(program)})


def made_base():
    """The folder with a fresh Debian, kept between runs outside of the clone."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "procserver-tests"
    what = hashlib.sha256(" ".join([SUITE, *PACKAGES]).encode()).hexdigest()[:12]
    base = cache / f"{SUITE}-{what}"
    if not base.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            made = Path(scratch) / "root"
            include = "--include=" + ",".join(PACKAGES)
            command = ["mmdebstrap", "--quiet", "--variant=apt", include, SUITE, str(made)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            made.rename(base)
    return base


class Machine:
    """Used in a `with`: at its end nothing of it is left on the host, whatever happened."""

    def __init__(self):
        self.name = f"{PREFIX}{os.getpid()}"
        self.closing = contextlib.ExitStack()
        self.nspawn = None

    def __enter__(self):
        clear_after_killed()
        with contextlib.ExitStack() as closing:
            scratch = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
            closing.callback(shutil.rmtree, scratch)
            self.root = scratch / "root"
            self.console = scratch / "console"
            self.make_disk(scratch, closing)
            closing.callback(remove_cgroups, self.name)
            closing.callback(self.take_down)
            self.boot()
            self.closing = closing.pop_all()
        return self

    def __exit__(self, *_):
        self.closing.close()

    def make_disk(self, scratch, closing):
        disk = scratch / "disk"
        with disk.open("wb") as file:
            file.truncate(int(DISK.rstrip("M")) << 20)
        self.root.mkdir()
        on_host("mkfs.ext4", "-q", "-m", "0", "-d", str(made_base()), str(disk))
        on_host("mount", "-o", "loop", str(disk), str(self.root))
        closing.callback(on_host, "umount", str(self.root))

    def boot(self):
        command = [
            # If this program is killed, the machine is told to shut down.
            *("setpriv", "--pdeathsig", "TERM"),
            # What systemd-nspawn writes to /run goes with it; it reboots only where that is in memory.
            *("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "sh"),
            *("systemd-nspawn", "--quiet", "--boot"),
            f"--directory={self.root}",
            f"--machine={self.name}",
            *("--keep-unit", "--register=no", "--private-network", "--console=pipe"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
            f"--system-call-filter={SYSTEM_CALLS}",
        ]
        places = own_cgroups(self.name)
        with self.console.open("ab") as console:
            self.nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this program, which then takes the machine down.
                start_new_session=True,
                preexec_fn=lambda: [write(place / "cgroup.procs", os.getpid()) for place in places],
            )
        self.wait_for_boot()

    def take_down(self):
        """An orderly end takes a second; after twenty the kernel ends all that is in it."""
        if self.nspawn and self.nspawn.poll() is None:
            self.nspawn.send_signal(signal.SIGTERM)
            try:
                self.nspawn.wait(20)
            except subprocess.TimeoutExpired:
                leader = self.leader()
                if leader:
                    os.kill(leader, signal.SIGKILL)
                self.nspawn.kill()
                self.nspawn.wait()

    def leader(self):
        """The machine's first process, seen from the host."""
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children")
        with contextlib.suppress(OSError, IndexError, ValueError):
            return int(children.read_text().split()[0])
        return None

    def wait_for_boot(self):
        def is_up():
            if self.nspawn.poll() is not None:
                raise Failed(f"systemd-nspawn ended:\n{self.console.read_text(errors='replace')}")
            if not self.leader():
                return False
            state = self.run("systemctl is-system-running --wait", check=False).stdout.strip()
            return state in ("running", "degraded")

        eventually("the machine has booted", is_up, seconds=60)

    def reboot(self):
        self.run("systemctl reboot", check=False)
        code = self.nspawn.wait(100)
        if code != REBOOT:
            raise Failed(f"systemd-nspawn exited with {code} instead of {REBOOT}")
        self.boot()

    def entering(self, command):
        """The command line by which the host runs a command in the machine, as root."""
        entered = [
            "nsenter",
            "--target",
            str(self.leader()),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
        ]
        return [*entered, "env", "-i", *ENVIRONMENT, "bash", "-c", command]

    def run(self, command, check=True, seconds=60):
        """Runs a command in the machine; its output, both streams in one, and exit code."""
        process = subprocess.Popen(
            self.entering(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise Failed(f"{command}\nhas not ended after {seconds} s:\n{output}") from None
        finished = subprocess.CompletedProcess(command, process.returncode, output)
        if check and finished.returncode != 0:
            raise Failed(f"{command}\nexited with {finished.returncode}:\n{output}")
        return finished

    def said(self, command, **more):
        return self.run(command, **more).stdout.strip()

    def write(self, path, text, mode=0o644):
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)


def eventually(what, condition, seconds=20):
    """Waits until the condition holds, and gives what it gave."""
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def on_host(*command):
    finished = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if finished.returncode != 0:
        raise Failed(f"{' '.join(command)}: {finished.stderr or finished.stdout}")


def write(path, value):
    path.write_text(f"{value}\n")


def hierarchies():
    """Those in which a systemd keeps its units: systemd-nspawn leaves empty groups behind in them."""
    top = Path("/sys/fs/cgroup")
    candidates = [top, top / "unified", top / "systemd"]
    return [place for place in candidates if (place / "cgroup.procs").exists()]


def own_cgroups(name):
    """Groups of the machine's own, so that two trials at a time do not meet."""
    made = [place / name for place in hierarchies()]
    for place in made:
        place.mkdir(exist_ok=True)
    return made


def remove_cgroups(name):
    for place in hierarchies():
        for directory, _, _ in os.walk(place / name, topdown=False):
            # The kernel may need a moment for who has just ended.
            eventually(f"{directory} is empty", lambda place=directory: removed(place))


def clear_after_killed():
    """Removes what a trial left that was ended by SIGKILL, which lets nobody clear up."""
    for scratch in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        name, _, _ = scratch.name.rpartition("-")
        if not Path("/proc", name.removeprefix(PREFIX)).exists():
            subprocess.run(["umount", scratch / "root"], capture_output=True, check=False)
            shutil.rmtree(scratch)
            remove_cgroups(name)


def removed(directory):
    try:
        os.rmdir(directory)
    except OSError:
        return not os.path.exists(directory)
    return True
