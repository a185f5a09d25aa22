"""Why Kafka does not let us in, and what to change. aiokafka only says that it could not connect."""

import socket
from collections.abc import Mapping
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from services.runtime.operator_errors import OperatorError
from services.runtime.settings import KafkaSettings
from services.runtime.tls import causes, tls_advice
from services.runtime.tokens import TokenError

_TIMEOUT_MS = 5000


class KafkaRefusedError(KafkaConnectionError, OperatorError):  # type: ignore[misc]
    """Kafka is not to be had as the settings say; the message says what to change."""

    def __str__(self) -> str:
        return str(self.args[0])


async def why_unreachable(settings: KafkaSettings, login: Mapping[str, Any]) -> str:
    """What happens when one connects to each of the bootstrap addresses; empty when all let us in."""
    reasons = []
    for host, port, _ in collect_hosts(settings.kafka_bootstrap, randomize=False):
        try:
            connection = await create_conn(host, port, request_timeout_ms=_TIMEOUT_MS, **login)
            try:
                # A listener that wants a log-in answers some requests without one, but not this.
                answer = await connection.send(MetadataRequest([]))
            finally:
                connection.close()
        except (OSError, KafkaError, TimeoutError, EOFError, ValueError) as error:
            reasons.append(f"{host}:{port}: {advice_on(error, settings)}")
        else:
            # A token that is refused is not an error to aiokafka, which goes on without a log-in.
            if not answer.brokers:
                reasons.append(f"{host}:{port}: the log-in is refused: {_log_in_advice(settings)}")
    return "; ".join(reasons)


def advice_on(error: BaseException, settings: KafkaSettings) -> str:
    """One sentence: what is wrong, and which setting to look at."""
    protocol = settings.kafka_security_protocol
    if advice := tls_advice(error, "HEADRACE_KAFKA_"):
        return advice
    for cause in causes(error):
        if isinstance(cause, TokenError):
            return str(cause)
        if isinstance(cause, SaslAuthenticationFailed):
            return f"the log-in is refused: {_log_in_advice(settings)}"
        if isinstance(cause, UnsupportedSaslMechanismError):
            return (
                f"the brokers do not know HEADRACE_KAFKA_SASL_MECHANISM={settings.kafka_sasl_mechanism}: take the one of "
                "your provider's sheet"
            )
        if isinstance(cause, IllegalSaslStateError):
            return f"this port takes no log-in, and HEADRACE_KAFKA_SECURITY_PROTOCOL={protocol} has one"
        if isinstance(cause, socket.gaierror):
            return f"this name is not known ({cause.strerror}): is HEADRACE_KAFKA_BOOTSTRAP right?"
        if isinstance(cause, ConnectionRefusedError):
            return "nobody listens there: is HEADRACE_KAFKA_BOOTSTRAP right, and the broker running?"
        if isinstance(cause, TimeoutError):
            return (
                f"no answer within {_TIMEOUT_MS // 1000} s: is HEADRACE_KAFKA_BOOTSTRAP right, does a firewall stand "
                f"between, and is the port one of HEADRACE_KAFKA_SECURITY_PROTOCOL={protocol}?"
            )
    if isinstance(error, KafkaConnectionError | EOFError | OSError):
        return (
            "the broker closed the connection: is the port one of "
            f"HEADRACE_KAFKA_SECURITY_PROTOCOL={protocol}? (SSL and SASL_SSL have TLS, SASL_ a log-in) [{error!r}]"
        )
    return repr(error)


def _log_in_advice(settings: KafkaSettings) -> str:
    if settings.kafka_sasl_mechanism == "OAUTHBEARER":
        return "the brokers do not take the token. Are its scope and audience those that they expect?"
    return (
        f"are HEADRACE_KAFKA_SASL_USERNAME and HEADRACE_KAFKA_SASL_PASSWORD right, and is this a user of "
        f"{settings.kafka_sasl_mechanism} (HEADRACE_KAFKA_SASL_MECHANISM)?"
    )
