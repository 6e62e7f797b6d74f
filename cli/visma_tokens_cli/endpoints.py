"""The URLs that AWS may be called at: those that are safe, and can be sent."""

import re

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

LOOPBACK = {"127.0.0.1", "[::1]", "localhost"}  # plain http goes nowhere else, as for the function
SENDABLE = re.compile(r"[!-~]*")  # in the head of a request


def is_safe(url: str) -> bool:
    """Tell whether a URL is https, or that of this machine: credentials and secrets go there."""
    try:
        parts = parse_url(url)  # as botocore does when it sends
    except LocationParseError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.host in LOOPBACK)
