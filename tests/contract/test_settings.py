from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from token_issuer.errors import SettingsInvalid
from token_issuer.settings import TOKEN_ENDPOINT, parse_settings

ENVIRONMENT = {
    "TENANTS_PATH": "/visma/tenants",
    "TOKENS_PATH": "/visma/tokens",
    "CLIENT_SECRETS_PREFIX": "visma/clients",
    "TOKEN_ENDPOINT": "https://connect.visma.com/connect/token",
    "TOKEN_KEY_ARN": "arn:aws:kms:eu-north-1:123456789012:key/0d4e",
    "LEDGER_TABLE": "ledger",
    "SCHEDULE_PERIOD_MINUTES": "5",
    "RENEW_AT_FRACTION": "0.5",
    "WRITES_PER_SECOND": "2.4",
    "CONCURRENCY": "8",
}


def test_the_environment_becomes_settings() -> None:
    settings = parse_settings(ENVIRONMENT)

    assert settings.tenants_path == "/visma/tenants"
    assert settings.tokens_path == "/visma/tokens"
    assert settings.client_secrets_prefix == "visma/clients"
    assert settings.token_endpoint == "https://connect.visma.com/connect/token"
    assert settings.token_key_arn == "arn:aws:kms:eu-north-1:123456789012:key/0d4e"
    assert settings.ledger_table == "ledger"
    assert settings.period == timedelta(minutes=5)
    assert settings.renew_at_fraction == 0.5
    assert settings.concurrency == 8


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_variable_that_is_not_set_is_named(name: str) -> None:
    environment = {key: value for key, value in ENVIRONMENT.items() if key != name}

    with pytest.raises(SettingsInvalid, match=name):
        parse_settings(environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("TENANTS_PATH", "visma/tenants", id="path without a slash at its start"),
        pytest.param("TOKENS_PATH", "/visma/tokens/", id="path with a slash at its end"),
        pytest.param("TOKENS_PATH", "/", id="root as a path"),
        pytest.param("CLIENT_SECRETS_PREFIX", "visma/clients/", id="prefix with a slash"),
        pytest.param("CONCURRENCY", "0", id="no concurrency"),
        pytest.param("CONCURRENCY", "eight", id="concurrency in words"),
        pytest.param("SCHEDULE_PERIOD_MINUTES", "0", id="no period"),
        pytest.param("RENEW_AT_FRACTION", "1.5", id="renewal after the end"),
        pytest.param("RENEW_AT_FRACTION", "0.19", id="renewal from the start"),
        pytest.param("WRITES_PER_SECOND", "0", id="no writes"),
        pytest.param("RENEW_AT_FRACTION", "half", id="a fraction in words"),
        pytest.param("TOKEN_ENDPOINT", "http://connect.visma.com/connect/token", id="plain http"),
        pytest.param("TOKEN_ENDPOINT", "http://127.0.0.1.evil.example/", id="looks like loopback"),
        pytest.param("TOKEN_ENDPOINT", "ftp://127.0.0.1/token", id="another scheme on loopback"),
        pytest.param("TOKEN_ENDPOINT", "https:///connect/token", id="no host"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com:port/", id="port in words"),
        pytest.param("TOKEN_ENDPOINT", "https://[::1/token", id="broken IPv6 address"),
        pytest.param("TOKEN_ENDPOINT", "https://user@connect.visma.com/", id="user in the URL"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com/#token", id="fragment"),
        pytest.param("TOKEN_ENDPOINT", "https://connect..visma.com/connect/token", id="two dots"),
        pytest.param("TOKEN_ENDPOINT", "https://.connect.visma.com/", id="dot at the start"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com../", id="dots at the end"),
        pytest.param("TOKEN_ENDPOINT", f"https://{'a' * 64}.visma.com/", id="a label too long"),
        pytest.param("TOKEN_ENDPOINT", f"https://{'a.' * 126}aa/", id="a host too long"),
        pytest.param("TOKEN_ENDPOINT", "https://connéct.visma.com/", id="host not in ASCII"),
        pytest.param("TOKEN_ENDPOINT", "https://connect。visma.com/", id="another kind of dot"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com/tökén", id="path not in ASCII"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com/\ud800", id="half a character"),
        pytest.param("TOKEN_ENDPOINT", "https://connect visma.com/", id="space in the host"),
        pytest.param("TOKEN_ENDPOINT", " https://connect.visma.com/", id="space before"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com/token ", id="space behind"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com/token\n", id="line feed behind"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma\t.com/token", id="tab in the host"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com/\x00", id="control character"),
        pytest.param("TOKEN_ENDPOINT", "https://connect%2evisma.com/", id="percent in the host"),
        pytest.param("TOKEN_ENDPOINT", "https://*.visma.com/", id="wildcard"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com:0/", id="port 0"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com:65536/", id="port too high"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com:-1/", id="port below 0"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com:٤٤٣/", id="port in other digits"),
        pytest.param("TOKEN_ENDPOINT", "https://id:secret@connect.visma.com/", id="password"),
        pytest.param("TOKEN_ENDPOINT", "https://@connect.visma.com/", id="empty user"),
        pytest.param("TOKEN_ENDPOINT", "https://connect.visma.com\\@evil.example/", id="backslash"),
        pytest.param("TOKEN_ENDPOINT", "https://[::::]/token", id="no IPv6 address"),
        pytest.param("TOKEN_ENDPOINT", "connect.visma.com/connect/token", id="no scheme"),
        *(
            pytest.param(name, path, id=f"{name}: {words}")
            for name in ("TENANTS_PATH", "TOKENS_PATH")
            for words, path in {
                "reserved": "/ssm/tokens",
                "reserved in capitals": "/AWS/tokens",
                "reserved by its beginning": "/awsome/tokens",
                "reserved in any case": "/sSmTokens",
                "of 15 levels": "/a" * 15,
                "of 801 characters": f"/{'a' * 800}",
                "empty level": "/visma//tokens",
                "of other letters": "/visma/tökens",
                "line feed behind": "/visma/tokens\n",
            }.items()
        ),
        pytest.param("TENANTS_PATH", "/visma/tokens", id="both paths the same"),
        pytest.param("TENANTS_PATH", "/visma/tokens/tenants", id="tenants among tokens"),
        pytest.param("TENANTS_PATH", "/visma", id="tokens among tenants"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        parse_settings(ENVIRONMENT | {name: value})


@pytest.mark.parametrize(
    "path", ["/visma/aws", "/myaws/ssm", "/as/ws", "/a" * 14, f"/{'a' * 799}", "/_.-"]
)
def test_a_path_that_parameter_store_takes_is_taken(path: str) -> None:
    assert parse_settings(ENVIRONMENT | {"TOKENS_PATH": path}).tokens_path == path


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://connect.visma.com",
        "https://connect.visma.com:443/connect/token?realm=a&b=%C3%A5",
        "https://connect.visma.com./connect/token",
        "https://xn--connct-fva.visma.com:65535/",
        "https://my_idp/token",
        f"https://{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}/",
        "https://10.0.0.1/token",
        "https://[2001:db8::1]:8443/token",
        "http://127.0.0.1:4000/connect/token",
        "http://localhost:4000/connect/token",
        "http://[::1]:4000/connect/token",
    ],
)
def test_an_endpoint_that_can_be_asked_is_taken_on_loopback_by_plain_http_too(
    endpoint: str,
) -> None:
    assert parse_settings(ENVIRONMENT | {"TOKEN_ENDPOINT": endpoint}).token_endpoint == endpoint


def test_a_password_in_the_url_is_not_told() -> None:
    with pytest.raises(SettingsInvalid, match="TokenEndpoint") as refused:
        parse_settings(ENVIRONMENT | {"TOKEN_ENDPOINT": "https://id:pa55word@connect.visma.com/"})

    assert "pa55word" not in str(refused.value)


@given(text=st.text() | st.from_regex(TOKEN_ENDPOINT, fullmatch=True))
def test_what_is_taken_can_be_asked(text: str) -> None:
    """None of the errors of encoding a host or a URL is left for a request."""
    with suppress(SettingsInvalid):
        url = parse_settings(ENVIRONMENT | {"TOKEN_ENDPOINT": text}).token_endpoint
        prepared = requests.Request("POST", url).prepare().url
        host = urlsplit(prepared).hostname

        assert host
        assert str(host).encode("idna")


@pytest.mark.parametrize("fraction", ["0.2", ".333", "0.500", "0.9"])
def test_a_fraction_is_any_number_that_the_template_takes(fraction: str) -> None:
    settings = parse_settings(ENVIRONMENT | {"RENEW_AT_FRACTION": fraction})

    assert settings.renew_at_fraction == float(fraction)


def test_paths_may_begin_alike() -> None:
    settings = parse_settings(ENVIRONMENT | {"TENANTS_PATH": "/visma/tokens-of"})

    assert settings.tenants_path == "/visma/tokens-of"
