"""Apache Kafka as managed ones are: TLS, log-ins of all kinds, and nothing allowed that no ACL allows."""

import asyncio
import base64
import json
import re
import shlex
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from msgspec import Struct

from services.devstack.apache_kafka import ApacheKafka, Quorum, Voter
from services.devstack.child_process import free_port
from services.devstack.kafka_jars import KafkaJars
from services.runtime.kafka_rights import CODES, Operation
from tests.support.certificates import Authority

ROOT = Path(__file__).resolve().parents[2]
# Of all users; no log may have it.
PASSWORD = "sesame-0123456789"
USERS = ("edge", "worker", "query", "tools", "nobody")
LOG_IN_LASTS_MS = 4000
_ALLOW, _LITERAL, _PREFIXED = 3, 3, 4
_RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")


class Acl(Struct, frozen=True):
    """`kind` and `name` of what the user may do it with."""

    user: str
    operation: Operation
    kind: str
    name: str
    pattern: int = _LITERAL


class SecureKafka:
    """A node with a listener for each way in. Its administrator needs no log-in. `settings` and `java_options`: more of
    them."""

    def __init__(
        self,
        folder: Path,
        jars: KafkaJars,
        settings: Mapping[str, str] | None = None,
        java_options: Sequence[str] = (),
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.authority = Authority(folder)
        self.strangers = Authority(folder, "strangers")
        self.ports = {name: free_port() for name in ("SASL_SSL", "SSL", "EXPIRED", "OTHER_NAME")}
        port = free_port()
        quorum = Quorum(
            [Voter(1, free_port())],
            settings=self._settings(port, folder),
            format_options=[
                option
                for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
                for user in USERS
                for option in ("--add-scram", f"{mechanism}=[name={user},password={PASSWORD}]")
            ],
        )
        # The quorum's settings stand last, and have the node's own listener in them.
        controller = quorum.voters[0].controller_port
        of_node = {**quorum.settings, **(settings or {})}
        of_node["listeners"] += f",CONTROLLER://127.0.0.1:{controller}"
        quorum = Quorum(quorum.voters, settings=of_node, format_options=quorum.format_options)
        self.node = ApacheKafka(folder / "node", jars, port=port, quorum=quorum, java_options=java_options)

    def _settings(self, port: int, folder: Path) -> dict[str, str]:
        server = self.authority.issue("server", "127.0.0.1")
        others = {
            "EXPIRED": self.authority.issue("expired-server", "127.0.0.1", expired=True),
            "OTHER_NAME": self.authority.issue("other-server", "kafka.example"),
        }
        listeners = ",".join(
            f"{name}://127.0.0.1:{number}" for name, number in {"PLAINTEXT": port, **self.ports}.items()
        )
        users = " ".join(f'user_{user}="{PASSWORD}"' for user in USERS)
        security = "org.apache.kafka.common.security"
        return {
            "listeners": listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,"
            "EXPIRED:SSL,OTHER_NAME:SSL",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(server.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.file),
            **{f"listener.name.{name.lower()}.ssl.keystore.location": str(of.both) for name, of in others.items()},
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "sasl.enabled.mechanisms": ",".join(_MECHANISMS),
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{security}.plain.PlainLoginModule required {users};",
            **{
                f"listener.name.sasl_ssl.scram-sha-{bits}.sasl.jaas.config": f"{security}.scram.ScramLoginModule required;"
                for bits in (256, 512)
            },
            # Kafka's own check of tokens for tests: they are not signed.
            "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config": f"{security}.oauthbearer.OAuthBearerLoginModule "
            'required unsecuredLoginStringClaim_sub="broker";',
            # Who logged in with a token longer ago than this is put out at the next request.
            "listener.name.sasl_ssl.oauthbearer.connections.max.reauth.ms": str(LOG_IN_LASTS_MS),
            "auto.create.topics.enable": "false",
            "connection.failed.authentication.delay.ms": "0",
        }

    def bootstrap(self, listener: str) -> str:
        return f"127.0.0.1:{self.node.port if listener == 'PLAINTEXT' else self.ports[listener]}"

    def as_user(self, user: str, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """Settings (without prefix) of a user with a password."""
        return {
            "bootstrap": self.bootstrap("SASL_SSL"),
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": mechanism,
            "sasl_username": user,
            "sasl_password": PASSWORD,
            "ca_file": str(self.authority.file),
        }

    def as_certificate(self, user: str) -> dict[str, str]:
        pair = self.authority.issue(user, common_name=user)
        return {
            "bootstrap": self.bootstrap("SSL"),
            "security_protocol": "SSL",
            "ca_file": str(self.authority.file),
            "certificate_file": str(pair.certificate),
            "key_file": str(pair.key),
        }

    def as_token(self, user: str, url: str) -> dict[str, str]:
        return {
            "bootstrap": self.bootstrap("SASL_SSL"),
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "OAUTHBEARER",
            "oauth_token_url": url,
            "oauth_client_id": user,
            "oauth_client_secret": PASSWORD,
            "oauth_scope": "kafka",
            "ca_file": str(self.authority.file),
        }

    async def allow(self, *acls: Acl) -> None:
        """Returns when they count."""
        await self._change(CreateAclsRequest, acls, there=True)

    async def take_away(self, *acls: Acl) -> None:
        """Returns when they count no more."""
        await self._change(DeleteAclsRequest, acls, there=False)

    async def _change(self, request: Any, acls: Sequence[Acl], *, there: bool) -> None:
        """The controller changes rights; the broker hears of it a moment later."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap("PLAINTEXT"))
        await admin.start()
        try:
            for acl in acls:
                answer = await admin._send_request(request(*_entry(acl)))
                (row,) = getattr(answer, "creation_responses", None) or answer.filter_responses
                assert row[0] == 0, row
            for acl in acls:
                await _until_known(admin, acl, there=there)
        finally:
            await admin.close()


async def _until_known(admin: AIOKafkaAdminClient, acl: Acl, *, there: bool) -> None:
    for _ in range(1000):
        answer = await admin._send_request(DescribeAclsRequest(*_entry(acl)))
        if bool(answer.resources) == there:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"the broker did not hear of {acl}")


def _entry(acl: Acl) -> tuple[object, ...]:
    kind, operation = _RESOURCES[acl.kind], CODES[acl.operation]
    return kind, acl.name, acl.pattern, f"User:{acl.user}", "*", operation, _ALLOW


def documented_acls(text: str) -> list[Acl]:
    """The rights that a document's commands of kafka-acls.sh give."""
    acls = []
    for command in re.findall(r"^kafka-acls\.sh .*$", text.replace("\\\n", " "), re.MULTILINE):
        words = shlex.split(command)
        given: dict[str, list[str]] = {}
        for name, value in pairwise(words):
            given.setdefault(name, []).append(value)
        if "--add" not in given:
            continue
        pattern = _PREFIXED if given.get("--resource-pattern-type") == ["prefixed"] else _LITERAL
        (principal,) = given["--allow-principal"]
        acls += [
            Acl(principal.removeprefix("User:"), Operation(operation), kind, name, pattern)
            for operation in given["--operation"]
            for kind in ("topic", "group")
            for name in given.get(f"--{kind}", [])
        ]
    return acls


# What each service needs. Create is for who makes the topics: here, the administrator.
DOCUMENTED = [
    acl
    for acl in documented_acls((ROOT / "docs" / "how-to" / "kafka-acls.md").read_text())
    if acl.operation is not Operation.CREATE
]


@contextmanager
def token_server(life_s: int = 60) -> Iterator[tuple[str, list[Mapping[str, str]]]]:
    """Its address, and the headers of what was asked. Gives unsigned tokens to who has the password."""
    asked: list[Mapping[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(dict(self.headers))
            user, _, secret = base64.b64decode(self.headers["authorization"].split()[1]).decode().partition(":")
            good = secret == PASSWORD
            body = (
                {"access_token": _unsigned(user, life_s), "expires_in": life_s} if good else {"error": "invalid_client"}
            )
            self.send_response(200 if good else 401)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _unsigned(user: str, life_s: int) -> str:
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": user, "iat": now, "exp": now + life_s})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."
