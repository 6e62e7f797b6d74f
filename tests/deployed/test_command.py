"""`visma-tokens` from its wheel, against the deployed stack."""

import json
import resource
import tomllib

from local.demo import NOT_GRANTED, TENANTS
from tests.conftest import PROJECT
from tests.helpers.command import Command


def test_status_shows_the_worst_first_with_its_remedy(command: Command) -> None:
    done = command("status")

    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["4", "tenants:", "1", "no", "token,", "3", "fresh"]
    first, *others = [line[0] for line in lines if line and line[0] in TENANTS]
    assert first == NOT_GRANTED
    told = json.loads(command("status", "--json").out)["tenants"][1:]
    assert others == [one["tenant"] for one in told]
    assert sorted(one["expires_at"] for one in told) == [one["expires_at"] for one in told]
    assert "ask the tenant's administrator to grant the application" in done.out
    assert done.code == 1


def test_status_is_json_for_scripts(command: Command) -> None:
    found = json.loads(command("status", "--json").out)

    assert found["counts"] == {"no token": 1, "fresh": 3}
    assert found["tenants"][0]["reason"] == "TokenRefused"
    assert all(one["stored_version"] == one["version"] for one in found["tenants"])
    assert [one["version"] is None for one in found["tenants"]] == [True, False, False, False]


def test_failing_shows_no_others(command: Command) -> None:
    found = json.loads(command("status", "--failing", "--json").out)
    shown = command("status", "--failing").out

    assert [one["tenant"] for one in found["tenants"]] == ["initech"]
    assert "acme" not in shown


def test_renew_shows_the_report(command: Command) -> None:
    done = command("renew", "acme", "--force")

    assert done.out == "1 issued, 0 fresh, 0 failed, 0 deferred, 0 removed\n"
    assert done.code == 0


def test_completion_knows_commands_and_options(command: Command) -> None:
    def completed(words: str) -> list[str]:
        done = command(
            _VISMA_TOKENS_COMPLETE="complete_bash",
            COMP_WORDS=f"visma-tokens {words}",
            COMP_CWORD=str(len(words.split(" "))),
        )
        return done.out.split()

    assert completed("st") == ["status"]
    assert completed("secret st") == ["stage", "status"]
    assert completed("status --f") == ["--failing"]


def test_it_tells_its_version(command: Command) -> None:
    project = tomllib.loads((PROJECT / "cli/pyproject.toml").read_text())["project"]

    assert command("--version").out == f"{project['version']}\n"


def test_help_takes_less_than_half_a_second_of_processor_time(command: Command) -> None:
    def seconds() -> float:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    def help_of(*arguments: str) -> float:
        before = seconds()
        assert command(*arguments, "--help").code == 0
        return seconds() - before

    assert min(help_of() for _ in range(3)) < 0.5
