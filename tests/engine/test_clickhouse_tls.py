"""ClickHouse behind TLS: the files, the user and the path of the settings count, and each failure says what to change."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from tests.support.certificates import Authority
from tests.support.engine import as_role
from tests.support.tls_proxy import PATH, TlsProxy


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def proxy(clickhouse: ClickHouseSettings, authority: Authority) -> Iterator[TlsProxy]:
    port = urlsplit(clickhouse.clickhouse_url).port or 8123
    with TlsProxy(port, authority.issue("server", "127.0.0.1"), authority.file) as proxy:
        yield proxy


def through(
    proxy: TlsProxy, authority: Authority, clickhouse: ClickHouseSettings, changed: Mapping[str, str]
) -> ClickHouseSettings:
    client = authority.issue("client", common_name="client")
    user = as_role(clickhouse, Role.EDGE)
    values = {
        "clickhouse_url": proxy.url.replace("//", f"//{user.clickhouse_user}@"),
        "clickhouse_database": clickhouse.clickhouse_database,
        "clickhouse_password": user.clickhouse_password,
        "clickhouse_ca_file": str(authority.file),
        "clickhouse_certificate_file": str(client.certificate),
        "clickhouse_key_file": str(client.key),
        **{f"clickhouse_{name}": value for name, value in changed.items()},
    }
    return ClickHouseSettings.model_validate(values)


async def ask(settings: ClickHouseSettings) -> str:
    store = await ClickHouse.connect(settings)
    try:
        return str((await store.rows("SELECT currentUser()"))[0][0])
    finally:
        await store.close()


async def test_files_user_and_path_count(proxy: TlsProxy, authority: Authority, clickhouse: ClickHouseSettings) -> None:
    settings = through(proxy, authority, clickhouse, {})
    assert await ask(settings) == as_role(clickhouse, Role.EDGE).clickhouse_user
    both = authority.issue("client", common_name="client").both
    one_file = {"certificate_file": str(both), "key_file": ""}
    assert await ask(through(proxy, authority, clickhouse, one_file)) == settings.clickhouse_login


async def test_each_failure_says_what_to_change(
    proxy: TlsProxy, authority: Authority, clickhouse: ClickHouseSettings, tmp_path: Path
) -> None:
    strangers = Authority(tmp_path)
    stranger = strangers.issue("stranger", common_name="client")
    cases: list[tuple[dict[str, str], str]] = [
        ({"ca_file": str(strangers.file)}, "unknown CA .* HEADRACE_CLICKHOUSE_CA_FILE"),
        ({"ca_file": ""}, "unknown CA .* HEADRACE_CLICKHOUSE_CA_FILE"),
        ({"certificate_file": "", "key_file": ""}, "HEADRACE_CLICKHOUSE_CERTIFICATE_FILE"),
        (
            {"certificate_file": str(stranger.certificate), "key_file": str(stranger.key)},
            "HEADRACE_CLICKHOUSE_CERTIFICATE_FILE",
        ),
        ({"password": "wrong-sesame"}, "HEADRACE_CLICKHOUSE_USER and HEADRACE_CLICKHOUSE_PASSWORD right"),
        ({"url": clickhouse.clickhouse_url.replace("http:", "https:")}, "does not speak TLS"),
        ({"url": proxy.url.removesuffix(PATH)}, "not-below-the-path|404|no handle"),
    ]
    for changed, says in cases:
        with pytest.raises(StoreError) as failed:
            await ask(through(proxy, authority, clickhouse, changed))
        assert re.search(says, str(failed.value)), (changed, str(failed.value))
        assert "sesame" not in str(failed.value)


async def test_a_server_whose_certificate_is_not_good(
    proxy: TlsProxy, authority: Authority, clickhouse: ClickHouseSettings
) -> None:
    settings = through(proxy, authority, clickhouse, {})
    for pair, says in (
        (authority.issue("old", "127.0.0.1", expired=True), "has expired .* renew it"),
        (authority.issue("other", "click.example"), "for another name .* as the address"),
    ):
        proxy.serve(pair)
        with pytest.raises(StoreError, match=says):
            await ask(settings)
    proxy.serve(authority.issue("server", "127.0.0.1"))
    assert await ask(settings)
