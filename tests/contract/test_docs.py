import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from token_issuer.tokens.plan import REASONS

PAGES = sorted(
    [*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md"), *PROJECT.glob("*/README.md")]
)


def test_the_readme_stays_short() -> None:
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())

    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]

    assert missing == []


def test_every_event_is_in_the_readme() -> None:
    readme = (PROJECT / "README.md").read_text()

    missing = [one.name for one in (PROJECT / "events").iterdir() if one.name not in readme]

    assert missing == []


def test_no_lock_file_names_a_host() -> None:
    lists = [*PROJECT.glob("*/requirements.txt"), *PROJECT.glob("local/requirements/*.txt")]

    assert len(lists) == 7
    assert not any("://" in one.read_text() for one in lists)


def test_every_example_is_in_the_page_of_consumers() -> None:
    page = (PROJECT / "docs/consumers.md").read_text()

    missing = [
        one.name for one in (PROJECT / "examples").iterdir() if f"examples/{one.name}" not in page
    ]

    assert missing == []


def test_every_file_and_name_of_how_it_works_is_there() -> None:
    text = (PROJECT / "docs/how-it-works.md").read_text()
    named = re.findall(r"`([a-z_/]+\.py)(?:::(\w+))?`", text)

    assert len(named) > 15
    for module, name in named:
        code = (PROJECT / "src/token_issuer" / module).read_text()
        assert re.search(rf"^(def|class) {name}\b|^{name} = " if name else "", code, re.MULTILINE)


def test_how_it_works_has_every_reason_to_renew() -> None:
    text = (PROJECT / "docs/how-it-works.md").read_text()

    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [str(one) for one in REASONS]
