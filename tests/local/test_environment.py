"""Settings of a person's machine: none reaches what the Makefile and local emulation start."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it

import httpx
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.utils import should_bypass_proxies

from local import environment
from local.authorization_server import serving_wsgi
from local.aws import Account, build
from tests.conftest import PROJECT
from tests.helpers.programs import finished
from tests.helpers.shell import ALL, NOWHERE, PROXIES

HARMLESS = {"LC_ALL", "LANG", "TZ", "HOME", *PROXIES, "NO_PROXY", "no_proxy"}
OURS = {"PYTHONUTF8", "MAKEFLAGS", "XDG_CACHE_HOME", "npm_config_cache"}  # what the Makefile says
TEMPLATE = "Resources: {Topic: {Type: AWS::SNS::Topic}}\n"
PRINTED = """
from local.environment import lines, settle
settle()
print(*lines(**{variables}), sep=chr(10))
"""
PASTED = """
set -eu
{lines}
test "$SPACED" = "of two words"
curl --silent --show-error --fail $AWS_ENDPOINT_URL/curl
aws sts get-caller-identity --query Account --output text
{python} -c 'import requests; print(requests.get("{url}/requests", timeout=9).text)'
"""
IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Account>000000000000</Account></GetCallerIdentityResult>
</GetCallerIdentityResponse>"""


UV_TOML = """
no-index = true
exclude-newer = "2001-01-01"
[pip]
target = "{nowhere}"
no-binary = [":all:"]
python-platform = "windows"
"""
PIP_CONF = """
[global]
no-index = true
find-links = {wheels}
target = {nowhere}
prefix = {nowhere}
user = true
constraint = /nowhere/constraints.txt
no-binary = :all:
"""


def make(
    *arguments: str, shell: dict[str, str], checkout: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path.home())} | shell
    command = ["make", "--no-print-directory", *arguments]
    return finished(command, env=environment, cwd=checkout, seconds=600)


def test_make_passes_nothing_on_that_breaks_something() -> None:
    done = make("--eval", "shown: ; @env -0", "shown", shell=ALL)

    assert done.returncode == 0, done.stderr
    passed = {one.partition("=")[0] for one in done.stdout.split("\0")}
    assert passed & ALL.keys() <= HARMLESS | OURS


def test_make_passes_on_from_where_packages_come() -> None:
    shell = {
        "PIP_INDEX_URL": "https://user:p$w#d@index.example/simple",
        "UV_INDEX_COMPANY_PASSWORD": "p$w#d",
        "npm_config_registry": "https://index.example/npm",
        "HTTPS_PROXY": "http://user:p$w%23@proxy.example",
        "SSL_CERT_FILE": "/etc/ca of ours.pem",
    }

    done = make("--eval", "shown: ; @env -0", "shown", shell=shell)

    passed = dict(one.split("=", 1) for one in done.stdout.split("\0") if one)
    assert passed.items() >= shell.items()


def test_make_runs_tests_from_the_oddest_shell(tmp_path: Path) -> None:
    for module in ("requests", "token_issuer", "sitecustomize", "pytest", "local"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('another one')")
    (tmp_path / ".netrc").write_text("default login they password theirs\n")
    rule = (
        "one: ; @$(RUN) -m pytest --quiet -p no:cacheprovider tests/local/test_api.py -k own_token"
    )

    done = make(
        "--eval", rule, "one", shell=ALL | {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_settings_say_from_where_packages_come_and_not_which_or_where_to(tmp_path: Path) -> None:
    checkout, home, nowhere = tmp_path / "checkout", tmp_path / "home", tmp_path / "nowhere"
    (checkout / ".tools/uv").mkdir(parents=True)
    for part in (PROJECT / ".tools/uv").iterdir():
        (checkout / ".tools/uv" / part.name).symlink_to(part)
    (checkout / "local/requirements").mkdir(parents=True)
    for name in ("Makefile", "local/environment.ini"):
        shutil.copy(PROJECT / name, checkout / name)
    [idna] = re.findall(r"(?m)^idna.*\n(?: .*\n)+", (PROJECT / "src/requirements.txt").read_text())
    (checkout / "local/requirements/consumers.txt").write_text(idna)
    for name, text in {"uv/uv.toml": UV_TOML, "pip/pip.conf": PIP_CONF}.items():
        (home / ".config" / name).parent.mkdir(parents=True)
        said = text.format(nowhere=nowhere, wheels=environment.WHEELS)
        (home / ".config" / name).write_text(said)

    of_others = {"HOME": str(home)}
    targets = ["--assume-old", ".tools/uv/.made", ".tools/consumers/.made"]
    done = make(*targets, shell=of_others, checkout=checkout)

    assert done.returncode == 0, done.stderr
    assert list((checkout / ".tools/consumers").glob("lib/python*/site-packages/idna"))
    assert not nowhere.exists()


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=5)))
def test_a_program_of_local_emulation_has_what_is_listed_and_nothing_else(
    others: dict[str, str],
) -> None:
    shell = {name: value for name, value in (ALL | others).items() if name.isidentifier()}
    listed = {"PATH": "/bin", "LANG": "C", "LC_TIME": "sv_SE", "NO_COLOR": "1"}

    isolated = environment.isolated(shell | listed, Path("/of/ours"), OURS="1")

    assert isolated.items() >= listed.items()
    assert isolated["HOME"] == isolated["TMPDIR"] == "/of/ours"
    differs = {name for name in shell if isolated.get(name) == shell[name]}
    assert differs <= {"LC_ALL", "LANG", "TZ", "PATH", "PYTHONUTF8"} | listed.keys()
    assert not {"HTTP_PROXY", "https_proxy", "all_proxy"} & isolated.keys()


HOSTS = ["", " ", "intranet", ".example", "10.0.0.0/8", "*", "::1", "127.0.0.1", " localhost"]


@given(st.lists(st.sampled_from(HOSTS), min_size=2))
def test_loopback_joins_the_hosts_that_have_no_proxy(excluded: list[str]) -> None:
    told = environment.direct({"NO_PROXY": ",".join(excluded)})

    assert told["NO_PROXY"] == told["no_proxy"]
    hosts = told["no_proxy"].split(",")
    assert {host.strip() for host in excluded} - {""} <= set(hosts)
    assert "" not in hosts
    assert environment.direct(told) == told
    for host in ("127.0.0.1:80", "localhost:80", "[::1]:80"):
        assert should_bypass_proxies(f"http://{host}/", told["no_proxy"])
        # urllib wants brackets here, and httpx refuses them; nothing of ours listens there
        assert proxy_bypass_environment(host, {"no": told["no_proxy"]}) or host == "[::1]:80"


def test_httpx_takes_these_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.direct({"http_proxy": "http://127.0.0.1:9"}).items():
        monkeypatch.setenv(name, value)

    httpx.Client().close()


def test_no_host_has_a_proxy_where_a_person_excluded_all() -> None:
    for every in ("*", " *", "*,"):
        told = environment.direct({"no_proxy": every, "NO_PROXY": "intranet"})

        assert proxy_bypass_environment("www.example", {"no": told["no_proxy"]})


@pytest.fixture
def loopback() -> Iterator[str]:
    app = Flask(__name__)
    app.add_url_rule("/<name>", view_func=lambda name: f"{name}\n")
    app.add_url_rule("/", "aws", lambda: IDENTITY, methods=["POST"])
    with serving_wsgi(app) as url:
        yield url


def test_the_lines_that_are_printed_work_in_the_shell_of_a_person(
    loopback: str, tmp_path: Path
) -> None:
    variables = Account(loopback).environment | {"SPACED": "of two words"}
    shell = {"PATH": f"{PROJECT}/.tools/consumers/bin:{os.environ['PATH']}"} | ALL
    printing = [sys.executable, "-E", "-c", PRINTED.format(variables=variables)]
    printed = finished(printing, env=shell, cwd=PROJECT).stdout

    python = shlex.quote(sys.executable)
    pasting = PASTED.format(lines=printed, url=loopback, python=python)
    pasted = finished(["sh", "-c", pasting], env=shell, cwd=tmp_path)

    assert pasted.stdout.split() == ["curl", "000000000000", "requests"], pasted.stderr


def test_a_samconfig_of_a_person_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "samconfig.toml").write_text("version = of theirs")
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    folder = tmp_path / "ours"
    folder.mkdir()

    build(Account(NOWHERE), folder, template=tmp_path / "template.yaml")

    assert "AWS::SNS::Topic" in (folder / "build/template.yaml").read_text()
    assert list(tmp_path.glob(".aws-sam")) == []
