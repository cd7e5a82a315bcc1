"""A certificate authority in the machine: pebble, for which every name leads to 127.0.0.1."""

from machine import eventually

HOME = "/etc/pebble"
# By which its own server is trusted.
ROOT_OF_SERVER = f"{HOME}/ca.pem"
# By which the certificates that it makes are.
ROOT = f"{HOME}/root.pem"

CONFIG = f"""{{"pebble": {{
    "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
    "certificate": "{HOME}/server.pem", "privateKey": "{HOME}/server.key",
    "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": false
}}}}
"""
UNIT = """[Service]
Environment=PEBBLE_VA_NOSLEEP=1
ExecStart=/usr/bin/{command}
"""
NAMES = (
    "pebble-challtestsrv -http01 '' -https01 '' -tlsalpn01 '' "
    "-defaultIPv6 '' -defaultIPv4 127.0.0.1 -dns01 127.0.0.1:8053"
)
NEW_KEY = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
AUTHORITY = f"pebble -config {HOME}/config.json -dnsserver 127.0.0.1:8053"


def start_authority(machine):
    machine.write(f"{HOME}/config.json", CONFIG)
    machine.run(
        f"cd {HOME} && {NEW_KEY} -x509 -days 30 -subj /CN=authority -keyout ca.key -out ca.pem && "
        f"{NEW_KEY} -subj /CN=localhost -keyout server.key -out server.csr && "
        "openssl x509 -req -days 30 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem "
        "-extfile <(echo subjectAltName=DNS:localhost)"
    )
    machine.write("/etc/systemd/system/names.service", UNIT.format(command=NAMES))
    machine.write("/etc/systemd/system/authority.service", UNIT.format(command=AUTHORITY))
    machine.run("systemctl daemon-reload && systemctl start names authority")
    fetched = f"curl -sS --fail --cacert {ROOT_OF_SERVER} https://localhost:15000/roots/0 -o {ROOT}"
    eventually("pebble answers", lambda: machine.run(fetched, check=False).returncode == 0)


def with_acme(machine):
    """The settings that came with the package, with [acme] in them."""
    settings = machine.said("cat /etc/procserver/procserver.toml")
    for name, value in {
        "agree_terms": "true",
        "directory": '"https://localhost:14000/dir"',
        "root_ca": f'"{ROOT_OF_SERVER}"',
    }.items():
        [line] = [line for line in settings.split("\n") if line.startswith(f"#{name} = ")]
        settings = settings.replace(line, f"{name} = {value}")
    return settings + "\n"
