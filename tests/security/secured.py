"""Servers as deploy/ locks them: TLS with certificates on both sides, and a user for each kind of process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.security.certificates import Authority, Pair
from tests.servers import HOST, ROOT, Process, RabbitServer, RedisServer, free_ports

DEPLOY = ROOT / "deploy"
ROLES = ("runner-producer", "runner-worker", "runner-scheduler", "runner-dashboard")
#: The namespace that the files in deploy/ are written for.
SHOP = "shop"


def password_of(user: str) -> str:
    return f"pw-of-{user}"


@dataclass(frozen=True)
class Papers:
    """Who the test's servers and clients are, and by whose word."""

    authority: Authority
    stranger: Authority
    server: Pair
    client: Pair

    @classmethod
    def issued(cls, folder: Path) -> Papers:
        authority = Authority(folder, "authority")
        return cls(authority, Authority(folder, "stranger"), authority.issue("server"), authority.issue("client"))


class SecuredRedis(RedisServer):
    """deploy/redis-users.acl, with passwords; a port in the clear and one that wants a certificate of its clients."""

    def __init__(self, home: Path, papers: Papers, certificate: Pair | None = None) -> None:
        super().__init__(home, {})
        self.papers = papers
        self.certificate = certificate or papers.server

    def choose_ports(self) -> None:
        self.port, self.tls_port = free_ports(2)

    def launch(self) -> Process:
        users = self.home / "users.acl"
        lines = (DEPLOY / "redis-users.acl").read_text().splitlines()
        users.write_text("".join(f"{line}{_opened(line)}\n" for line in lines))
        self.settings |= {
            "aclfile": str(users),
            "tls-port": str(self.tls_port),
            "tls-cert-file": str(self.certificate.certificate),
            "tls-key-file": str(self.certificate.key),
            "tls-ca-cert-file": str(self.papers.authority.file),
        }
        return super().launch()

    def url_of(self, user: str) -> str:
        return f"redis://{user}:{password_of(user)}@{HOST}:{self.port}/0"

    def tls_url(self, user: str = "admin", *, host: str = HOST, password: str = "", **files: Path | None) -> str:
        named = {"ca_certs": self.papers.authority.file, **_own(self.papers, "certfile", "keyfile"), **files}
        options = {f"ssl_{name}": path for name, path in named.items() if path is not None}
        return f"rediss://{user}:{password or password_of(user)}@{host}:{self.tls_port}/0?{urlencode(options)}"


class SecuredRabbit(RabbitServer):
    """deploy/rabbitmq-definitions.json, with passwords; a port in the clear and one that wants a certificate."""

    def __init__(self, home: Path, papers: Papers) -> None:
        super().__init__(home)
        self.papers = papers

    def choose_ports(self) -> None:
        super().choose_ports()
        [self.tls_port] = free_ports(1)

    @property
    def url(self) -> str:
        return self.url_of("admin")

    def url_of(self, user: str) -> str:
        return f"amqp://{user}:{password_of(user)}@{HOST}:{self.port}/runner"

    def tls_url(self, user: str = "admin", *, host: str = HOST, password: str = "", **files: Path | None) -> str:
        named = {"cafile": self.papers.authority.file, **_own(self.papers, "certfile", "keyfile"), **files}
        options = {name: path for name, path in named.items() if path is not None}
        return f"amqps://{user}:{password or password_of(user)}@{host}:{self.tls_port}/runner?{urlencode(options)}"

    def _write_configuration(self) -> None:
        super()._write_configuration()
        definitions = json.loads((DEPLOY / "rabbitmq-definitions.json").read_text())
        for user in definitions["users"]:
            assert user.pop("password_hash") == ""
            user["password"] = password_of(user["name"])
        (self.home / "definitions.json").write_text(json.dumps(definitions))
        with (self.home / "rabbitmq.conf").open("a") as configuration:
            configuration.write(
                f"load_definitions = {self.home}/definitions.json\n"
                f"listeners.ssl.1 = {HOST}:{self.tls_port}\n"
                f"ssl_options.cacertfile = {self.papers.authority.file}\n"
                f"ssl_options.certfile = {self.papers.server.certificate}\n"
                f"ssl_options.keyfile = {self.papers.server.key}\n"
                "ssl_options.verify = verify_peer\n"
                "ssl_options.fail_if_no_peer_cert = true\n"
            )


def _opened(line: str) -> str:
    """The password that the file leaves out: nobody gets in without one."""
    name = line.split()[1]
    return "" if name == "default" else f" >{password_of(name)}"


def _own(papers: Papers, certificate: str, key: str) -> dict[str, Path | None]:
    return {certificate: papers.client.certificate, key: papers.client.key}
