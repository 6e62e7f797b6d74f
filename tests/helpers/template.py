"""The template, read as text."""

from typing import Any

from cfnlint.decode import cfn_yaml

from tests.conftest import PROJECT

TEMPLATE: Any = cfn_yaml.load(str(PROJECT / "template.yaml"))
RESOURCES = TEMPLATE["Resources"]
