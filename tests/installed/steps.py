"""What is tried, in order. Each step goes on from where the one before has left the machine."""

import json
import re
import subprocess
import time
from pathlib import Path

import certificates
from machine import Failed, eventually

HERE = Path(__file__).resolve().parent
URL = "http://hello.test/"


def steps(trial):
    yield "it is installed while another program has port 80, and says so", trial.install
    yield "what was installed is complete", trial.look_at_package
    yield "an application is deployed", trial.deploy
    yield "a certificate is taken from a certificate authority", trial.certify
    yield "killed by SIGKILL, it takes its applications over", trial.kill
    yield "it is upgraded under load", trial.upgrade
    yield "an upgrade that cannot serve changes nothing", trial.upgrade_in_vain
    yield "the machine is rebooted", trial.reboot
    yield "the disk is full", trial.fill_disk
    yield "stopped, it stops the applications, each with its grace", trial.stop
    yield "removed, it keeps data and runs nothing", trial.remove
    yield "installed again, all is as it was", trial.install_again
    yield "purged, it leaves nothing", trial.purge


class Trial:
    def __init__(self, machine, packages):
        self.machine = machine
        self.run, self.said = machine.run, machine.said
        for package, name in zip(packages, ("first.deb", "newer.deb")):
            (machine.root / "root" / name).write_bytes(Path(package).read_bytes())

    def apt(self, command):
        return self.said(
            f"apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 {command} 2>&1", seconds=180
        )

    # What is looked at.

    def is_active(self):
        return self.run("systemctl --quiet is-active procserver", check=False).returncode == 0

    def answer(self, url=URL, more=""):
        return self.run(f"curl -sS -m 40 --fail-with-body {more} {url}", check=False).stdout.strip()

    def serves(self):
        return re.fullmatch(r"web\.\d \d+ release \d+", self.answer())

    def pids(self):
        """Of its processes, by name, once those that drain have ended."""

        def settled():
            processes = json.loads(self.said("procserver ps hello --json"))["processes"]
            found = {process["id"]: process.get("pid") for process in processes}
            return len(found) == len(processes) and all(found.values()) and found

        return eventually("each process of the application runs once", settled)

    def processes_of_applications(self):
        return self.said("ps -eo user:32,pid,args | grep '^ps-' || true")

    def main_pid(self):
        return self.said("systemctl show --property=MainPID --value procserver")

    def upgrades_in_place(self):
        unit = self.run("systemctl cat procserver | grep -q ^ExecReload=", check=False)
        return unit.returncode == 0

    # The steps, in order.

    def install(self):
        self.run("systemd-run --quiet --unit=squatter python3 -m http.server 80")
        eventually("port 80 is taken", lambda: self.answer("http://127.0.0.1/"))
        output = self.apt("install /root/first.deb")
        wanted = "procserver is installed, but it does not serve: cannot listen on [::]:80: Address already in use"
        expect(wanted in output, "apt-get tells why it does not serve", output)
        state = self.said("dpkg-query -W -f '${Status}' procserver")
        expect(state == "install ok installed", "dpkg has it installed", state)
        self.run("systemctl stop squatter")
        eventually("it serves once the port is free", self.is_active)

    def look_at_package(self):
        expect(self.said("systemctl is-enabled procserver") == "enabled", "the unit is enabled")
        expect(self.said("dpkg --verify procserver") == "", "files are as packaged")
        conffiles = self.said("dpkg-query -W -f '${Conffiles}' procserver")
        expect(
            "/etc/procserver/procserver.toml" in conffiles, "the settings are a conffile", conffiles
        )
        expect(
            self.said("stat -c '%a %U' /etc/procserver /etc/procserver/procserver.toml").split("\n")
            == ["700 root", "600 root"],
            "only root reads settings and documents",
        )
        self.run("getent group procserver")
        for page in ("procserver", "procserver-create", "procserver.toml"):
            self.run(f"man -w {page}")
        self.run("zgrep -q '^rustls ' /usr/share/doc/procserver/licenses.gz")
        self.run("bash -n /usr/share/bash-completion/completions/procserver")
        # As a member of the group, whom the socket lets in.
        self.run(
            "useradd --groups procserver member && su member -s /bin/sh -c 'procserver apps' && userdel member"
        )

    def deploy(self):
        self.machine.write(
            "/srv/hello/Procfile", "web: python3 app.py\nworker: python3 app.py worker\n"
        )
        self.machine.write("/srv/hello/app.py", (HERE / "app.py").read_text())
        self.run(
            "cd /srv/hello && git init -q -b main && git add . && "
            "git -c user.name=a -c user.email=a@b commit -q -m 1 && echo '127.0.0.1 localhost hello.test' > /etc/hosts"
        )
        daemon = "git daemon --listen=127.0.0.1 --base-path=/srv --export-all"
        self.machine.write(
            "/etc/systemd/system/code.service",
            f"[Service]\nExecStart=/usr/bin/{daemon}\n[Install]\nWantedBy=multi-user.target\n",
        )
        self.run("systemctl enable --quiet --now code")
        eventually(
            "git daemon answers",
            lambda: self.run("git ls-remote git://127.0.0.1/hello", check=False).returncode == 0,
        )
        self.run(
            "procserver create hello --repo git://127.0.0.1/hello --branch main --host hello.test --scale web=2"
        )
        expect(self.serves(), "its URL answers", self.answer())
        expect(len(self.pids()) == 3, "two web processes and a worker run", self.pids())
        expect(
            self.processes_of_applications().count("ps-hello ") >= 3,
            "they run as a user of their own",
        )

    def certify(self):
        certificates.start_authority(self.machine)
        self.machine.write(
            "/etc/procserver/procserver.toml", certificates.with_acme(self.machine), 0o600
        )
        self.run("systemctl restart procserver")
        eventually("HTTPS answers with its certificate", self.serves_https, seconds=60)
        shown = self.said("procserver certs")
        expect("hello.test" in shown and "valid" in shown, "procserver certs tells of it", shown)
        expect(
            " 308 " in f" {self.answer(more='-o /dev/null -w %{http_code} -X POST')} ",
            "plain HTTP is redirected",
        )
        self.run("procserver set hello 'tls={\"redirect\": false}'")

    def serves_https(self):
        return "release" in self.answer("https://hello.test/", f"--cacert {certificates.ROOT}")

    def kill(self):
        before = self.pids()
        self.run("systemctl kill --signal=KILL --kill-whom=main procserver")
        eventually("it answers again", self.serves)
        expect(self.pids() == before, "the processes are the same", f"{before} {self.pids()}")

    def upgrade(self):
        before, main = self.pids(), self.main_pid()
        output, seen = self.under_load(lambda: self.apt("install /root/newer.deb"))
        version = self.said("dpkg-query -W -f '${Version}' procserver")
        expect(version.endswith("-2"), "the newer version is installed", output)
        expect(seen["requests"] > 1000, "there was load", seen)
        print(f"    {seen['requests']} requests, {seen['failures']} failed")
        expect(seen["failures"] == 0, "no request failed", seen)
        eventually("it answers", self.serves)
        if self.upgrades_in_place():
            now = (self.pids(), self.main_pid())
            expect(now == (before, main), "all processes are the same", f"{now}\n{output}")

    def under_load(self, change):
        """What the change gives, and what clients saw meanwhile."""
        self.machine.write("/root/traffic.py", (HERE / "traffic.py").read_text())
        command = self.machine.entering("python3 /root/traffic.py hello.test")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as traffic:
            try:
                expect(traffic.stdout.readline() == "busy\n", "clients are answered")
                changed = change()
                return changed, json.loads(traffic.communicate(timeout=60)[0])
            finally:
                traffic.kill()

    def upgrade_in_vain(self):
        if not self.upgrades_in_place():
            print("    not tried: the unit has no ExecReload")
            return
        before = self.pids()
        self.run("sed -i.kept '1i listen = 80' /etc/procserver/procserver.toml")
        output = self.apt("install --reinstall /root/newer.deb")
        wanted = ("serves on", "procserver.toml, line 1", "systemctl reload procserver")
        expect(all(text in output for text in wanted), "apt-get tells why", output)
        expect(self.serves() and self.pids() == before, "the former one serves on", output)
        self.run("mv /etc/procserver/procserver.toml.kept /etc/procserver/procserver.toml")
        self.run("systemctl reload procserver", seconds=100)
        expect(self.serves() and self.pids() == before, "once the reason is gone, it is upgraded")

    def reboot(self):
        self.machine.reboot()
        eventually("its URL answers after the boot", self.serves, seconds=60)
        eventually("HTTPS does, too", self.serves_https)
        expect(len(self.pids()) == 3, "all its processes run", self.pids())

    def fill_disk(self):
        before = self.pids()
        self.run("fallocate -l $(($(stat -f -c '%a * %S' /) - 4194304)) /fill", seconds=120)
        refused = self.run("procserver redeploy hello", check=False)
        expect(refused.returncode == 1, "a deploy is refused", refused.stdout)
        expect(
            "free" in refused.stdout and "disk" in refused.stdout,
            "it says that the disk is full",
            refused.stdout,
        )
        self.run("head -c 16M /dev/zero > /fill2", check=False)
        expect(self.serves(), "the application goes on", self.answer())
        self.run("rm -f /fill /fill2")
        self.run("procserver redeploy hello")
        expect(self.serves() and self.pids() != before, "with room again, deploys are made")

    def stop(self):
        before = self.pids()
        self.run("rm -f /var/lib/procserver/apps/hello/storage/stopped-*")
        self.run("systemctl stop procserver", seconds=100)
        expect(
            self.processes_of_applications() == "",
            "no process is left",
            self.processes_of_applications(),
        )
        notes = self.said("cd /var/lib/procserver/apps/hello/storage && ls | grep stopped-").split()
        names = sorted(note.split("-")[1] for note in notes)
        expect(names == sorted(before), "each came to its end within its grace", notes)
        self.run("systemctl start procserver")
        eventually("started again, it answers", self.serves)

    def remove(self):
        # One that has crashed, and is not started again, has left applications that no server stops.
        dropin = "/run/systemd/system/procserver.service.d"
        self.run(f"mkdir -p {dropin} && printf '[Service]\\nRestart=no\\n' > {dropin}/no.conf")
        self.run("systemctl daemon-reload")
        self.run("systemctl kill --signal=KILL --kill-whom=main procserver")
        eventually("the server is down", lambda: not self.is_active())
        expect(self.processes_of_applications() != "", "its applications run on")
        self.apt("remove procserver")
        self.run(f"rm -r {dropin}")
        expect(
            self.processes_of_applications() == "",
            "no process is left",
            self.processes_of_applications(),
        )
        expect(not self.is_active(), "it is not active")
        for kept in (
            "/var/lib/procserver/apps/hello/storage",
            "/etc/procserver/procserver.toml",
            "/etc/procserver/config/hello.json",
        ):
            self.run(f"test -e {kept}")

    def install_again(self):
        self.apt("install /root/newer.deb")
        eventually("it answers as before", self.serves)
        eventually("HTTPS does, too", self.serves_https)

    def purge(self):
        # They look like ours, and are somebody else's.
        self.run(
            "useradd --system --shell /usr/sbin/nologin --comment 'procserver app mine (0123456789abcdef)' ps-mine"
        )
        self.run(
            "useradd --system --shell /usr/sbin/nologin ps-other && mkdir -p /dev/shm/.procserver/0123456789abcdef"
        )
        self.apt("purge procserver")
        expect(
            self.processes_of_applications() == "",
            "no process is left",
            self.processes_of_applications(),
        )
        expect(self.said("pgrep -a procserver || true") == "", "nor the server")
        users = self.said("getent passwd | cut -d: -f1 | grep ^ps-").split()
        expect(users == ["ps-mine", "ps-other"], "only users that it has not made are left", users)
        groups = self.said("getent group | cut -d: -f1 | grep -E '^(ps-|procserver)'").split()
        expect(groups == ["ps-mine", "ps-other"], "nor groups", groups)
        left = self.said(
            "ls -d /var/lib/procserver /etc/procserver /run/procserver /dev/shm/.procserver/* 2>/dev/null || true"
        )
        expect(left == "/dev/shm/.procserver/0123456789abcdef", "nor directories", left)
        left = self.said(
            "find / -xdev -name '*procserver*' -not -path '/proc/*' -not -path '/var/log/*' -not -path '/tmp/*'"
        )
        known = ("/var/cache/apt", "/etc/systemd/system/multi-user.target.wants/code", "/root")
        left = [line for line in left.split("\n") if line and not line.startswith(known)]
        expect(left == [], "nor files", left)
        left = self.said("find /sys/fs/cgroup -name '*procserver*'")
        expect(left == "", "nor control groups", left)
        state = self.run("dpkg-query -W procserver", check=False)
        expect(state.returncode != 0, "dpkg knows it no more", state.stdout)


def expect(holds, what, told=""):
    if not holds:
        raise Failed(f"not so: {what}\n{told}")
