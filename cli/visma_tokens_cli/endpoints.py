"""Check the URLs that AWS is called at."""

import re

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

LOOPBACK = {"127.0.0.1", "[::1]", "localhost"}  # the only hosts for plain http, as for the function
SENDABLE = re.compile(r"[!-~]*")  # in the header of a request


def is_safe(url: str) -> bool:
    """Tell whether credentials and secrets may be sent to a URL: https, or this machine."""
    try:
        parts = parse_url(url)  # as botocore parses it to send
    except LocationParseError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.host in LOOPBACK)
