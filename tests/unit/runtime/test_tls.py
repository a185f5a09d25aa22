"""Handshakes in memory: files are taken as they are now, and each failure says what to change."""

import re
import ssl
from pathlib import Path

import pytest
import structlog
from aiohttp import ClientConnectorCertificateError
from aiohttp.client_reqrep import ConnectionKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from services.runtime.tls import FreshContext, TlsFiles, TlsFilesError, tls_advice
from tests.support.certificates import Authority, Pair

PREFIX = "HEADRACE_KAFKA_"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.issue("server", "broker.test")


def shake_hands(
    client: ssl.SSLContext, pair: Pair, host: str = "broker.test", asks_for: Path | None = None
) -> ssl.SSLObject:
    """A handshake, and a byte each way: a client of TLS 1.3 is refused only then. The client's end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.both)
    if asks_for:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(asks_for)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(back, there, server_hostname=host)
    theirs = context.wrap_bio(there, back, server_side=True)
    steps = [(True, ours.do_handshake), (False, theirs.do_handshake)] * 3
    for is_client, step in [*steps, (True, lambda: ours.write(b"x")), (True, lambda: ours.read(1))]:
        try:
            step()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            if is_client:
                raise
    assert theirs.read(1) == b"x"
    return ours


def test_what_the_ca_signed_is_trusted(authority: Authority, server: Pair) -> None:
    shake_hands(FreshContext.of(TlsFiles(PREFIX, ca=str(authority.file))), server)


def test_a_client_shows_its_certificate(authority: Authority, server: Pair) -> None:
    client = authority.issue("client", common_name="edge")
    for files in (
        TlsFiles(PREFIX, str(authority.file), str(client.certificate), str(client.key)),
        TlsFiles(PREFIX, str(authority.file), str(client.both)),
    ):
        shake_hands(FreshContext.of(files), server, asks_for=authority.file)


def test_each_failure_names_what_to_change(authority: Authority, server: Pair, folder: Path) -> None:
    other = Authority(folder, "other")
    trusting = TlsFiles(PREFIX, str(authority.file))
    expired = authority.issue("expired", "broker.test", expired=True)
    stranger = other.issue("stranger", common_name="edge")
    with_stranger = TlsFiles(PREFIX, str(authority.file), str(stranger.both))
    cases: list[tuple[TlsFiles, Pair, str, Path | None, str]] = [
        (trusting, expired, "broker.test", None, "has expired .* renew it on the server"),
        (trusting, server, "other.test", None, "for another name .* use a name that stands in it"),
        (TlsFiles(PREFIX, str(other.file)), server, "broker.test", None, "set HEADRACE_KAFKA_CA_FILE"),
        (TlsFiles(PREFIX), server, "broker.test", None, "set HEADRACE_KAFKA_CA_FILE"),
        (trusting, server, "broker.test", authority.file, "is HEADRACE_KAFKA_CERTIFICATE_FILE set"),
        (with_stranger, server, "broker.test", authority.file, "is HEADRACE_KAFKA_CERTIFICATE_FILE set"),
    ]
    for files, pair, host, asks_for, says in cases:
        with pytest.raises(ssl.SSLError) as failed:
            shake_hands(FreshContext.of(files), pair, host, asks_for)
        wrapped = ConnectionError("closed")
        wrapped.__cause__ = failed.value
        advice = tls_advice(wrapped, PREFIX)
        assert advice is not None
        assert re.search(says, advice), advice


def test_what_aiohttp_makes_of_a_refused_certificate_is_understood(authority: Authority, folder: Path) -> None:
    expired = authority.issue("expired", "broker.test", expired=True)
    with pytest.raises(ssl.SSLCertVerificationError) as failed:
        shake_hands(FreshContext.of(TlsFiles(PREFIX, str(authority.file))), expired)
    key = ConnectionKey("broker.test", 1, True, True, None, None, None)
    wrapped = ClientConnectorCertificateError(key, failed.value)
    wrapped.__cause__ = failed.value
    assert "has expired" in (tls_advice(wrapped, PREFIX) or "")
    assert tls_advice(ClientConnectorCertificateError(key, failed.value), PREFIX)


def test_a_connection_is_closed_without_a_wait_for_the_other_side(authority: Authority, server: Pair) -> None:
    shake_hands(FreshContext.of(TlsFiles(PREFIX, str(authority.file))), server).unwrap()


def test_other_failures_are_none_of_tls() -> None:
    assert tls_advice(ConnectionRefusedError(), PREFIX) is None


def test_a_certificate_that_changes_on_disk_counts_from_the_next_connection(authority: Authority, folder: Path) -> None:
    ours = Authority(folder, "renewed")
    files = TlsFiles(PREFIX, str(ours.file))
    context = FreshContext.of(files)
    theirs = Authority(folder, "renewed")  # writes the same file
    server = theirs.issue("renewed-server", "broker.test")
    shake_hands(context, server)


def test_half_a_renewal_changes_nothing_and_is_said_once(authority: Authority, server: Pair) -> None:
    client = authority.issue("half", common_name="edge")
    files = TlsFiles(PREFIX, str(authority.file), str(client.certificate), str(client.key))
    context = FreshContext.of(files)
    key = client.key.read_bytes()
    client.key.write_bytes(b"not yet\n")
    with structlog.testing.capture_logs() as lines:
        shake_hands(context, server, asks_for=authority.file)
        shake_hands(context, server, asks_for=authority.file)
    assert [line["event"] for line in lines] == ["certificate_not_renewed"]
    client.key.write_bytes(key)
    shake_hands(context, server, asks_for=authority.file)


def test_files_that_cannot_be_used_are_named_by_their_settings(authority: Authority, folder: Path) -> None:
    one, two = authority.issue("one", common_name="a"), authority.issue("two", common_name="b")
    nonsense = folder / "nonsense"
    nonsense.write_text("-----BEGIN NONSENSE-----\n")
    locked = folder / "locked"
    key = load_pem_private_key(one.key.read_bytes(), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password")))
    cases = [
        (TlsFiles(PREFIX, ca=str(folder / "none")), "HEADRACE_KAFKA_CA_FILE: the file cannot be read: No such file"),
        (TlsFiles(PREFIX, ca=str(nonsense)), "HEADRACE_KAFKA_CA_FILE: .* is no PEM file"),
        (TlsFiles(PREFIX, certificate=str(one.certificate)), "HEADRACE_KAFKA_CERTIFICATE_FILE: .* is no PEM file"),
        (TlsFiles(PREFIX, "", str(one.certificate), str(two.key)), "is not that of HEADRACE_KAFKA_KEY_FILE"),
        (TlsFiles(PREFIX, "", str(one.certificate), str(folder / "none")), "or HEADRACE_KAFKA_KEY_FILE: .* be read"),
        (TlsFiles(PREFIX, "", str(one.certificate), str(locked)), "HEADRACE_KAFKA_KEY_FILE: the key is encrypted"),
    ]
    for files, says in cases:
        with pytest.raises(TlsFilesError, match=says):
            files.context()
