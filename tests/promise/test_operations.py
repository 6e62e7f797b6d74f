"""docs/operations.md against the template."""

import re

import pytest

from tests.conftest import PROJECT
from tests.helpers.template import RESOURCES

PAGE = (PROJECT / "docs/operations.md").read_text()
ALARMS = {
    name: one["Properties"]
    for name, one in RESOURCES.items()
    if one["Type"] == "AWS::CloudWatch::Alarm"
}
SECTIONS = dict(re.findall(r"^### (\w+)\n(.+?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))


def test_each_alarm_has_a_section_and_each_section_its_alarm() -> None:
    assert list(SECTIONS) == list(ALARMS)


@pytest.mark.parametrize("name", ALARMS)
def test_a_description_says_what_its_section_says_and_leads_there(name: str) -> None:
    means, _, to_do = ALARMS[name]["AlarmDescription"].partition(" To do: ")
    [section] = re.findall(r"^\*\*Means:\*\* (.+?)\n\n", SECTIONS[name], re.MULTILINE | re.DOTALL)

    assert " ".join(section.split()).startswith(means)
    assert to_do.endswith(f" (docs/operations.md#{name.lower()}).")


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_the_alarm_means_where_to_look_and_what_to_do(name: str) -> None:
    assert re.findall(r"^\*\*(.+?):\*\* \S", SECTIONS[name], re.MULTILINE) == [
        "Means",
        "First look",
        "Fix",
    ]


def test_each_link_within_the_pages_leads_to_a_heading() -> None:
    links = re.findall(r"\]\(([\w./]*)#([\w-]+)\)", PAGE)

    missing = [f"{page}#{anchor}" for page, anchor in links if anchor not in anchors(page)]

    assert len(links) >= 10
    assert missing == []


def anchors(page: str) -> set[str]:
    text = (PROJECT / "docs" / (page or "operations.md")).read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


def test_the_names_that_the_page_gives_are_those_of_the_template() -> None:
    alarm = re.findall(r"--alarm-name 'token-issuer(: [^']+)'", PAGE)
    resources = re.findall(r"--logical-resource-id (\w+)", PAGE)
    queries = [
        one["Properties"]["Name"]["Fn::Sub"]
        for one in RESOURCES.values()
        if one["Type"] == "AWS::Logs::QueryDefinition"
    ]

    assert {f"${{AWS::StackName}}{one}" for one in alarm} <= {
        one["AlarmName"]["Fn::Sub"] for one in ALARMS.values()
    }
    assert set(resources) <= RESOURCES.keys()
    named = set(re.findall(r"\*(failures by reason|history of one tenant)\*", PAGE))
    assert {f"${{AWS::StackName}}/{one}" for one in named} <= set(queries)
    assert all((alarm, resources, named))
