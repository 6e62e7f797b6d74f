"""What tests of the issuer find: tests/helpers/fixtures.py."""

from tests.helpers.fixtures import *  # noqa: F403  the same in each of these folders
