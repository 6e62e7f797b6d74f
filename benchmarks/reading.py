"""Read tokens as consumers do: `python reading.py cached|reader|others LOOK_UPS` prints JSON.

It runs as a file. For `reader` and `others`, the AWS endpoint counts the calls.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from statistics import median

import boto3
from aws_lambda_powertools.utilities.parameters import SSMProvider
from botocore.config import Config

from visma_tokens import TokenReader

TENANT, NAME = "t00000", "/visma/tokens/t00000"
ROUNDS = 5
THREADS = 100

type Look = Callable[[], object]


def seconds_each(looks: dict[str, Look], look_ups: int) -> dict[str, float]:
    """Return the seconds per look-up by way: the median of rounds with all ways by turns."""
    rounds: dict[str, list[float]] = {name: [] for name in looks}
    for _ in range(ROUNDS):
        for name, look in looks.items():
            begun_at = time.perf_counter()
            for _ in range(look_ups):
                look()
            rounds[name].append((time.perf_counter() - begun_at) / look_ups)
    return {name: median(taken) for name, taken in rounds.items()}


def at_once(look: Look) -> dict[str, float]:
    """Have a hundred threads read at the same moment; returns {}, since the endpoint counts."""
    barrier = threading.Barrier(THREADS)

    def ask() -> None:
        barrier.wait()
        look()

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {}


def main(what: str, look_ups: int) -> dict[str, float]:
    """Return the seconds of cached look-ups by way, or have a hundred threads read at once."""
    ssm = boto3.client("ssm", config=Config(max_pool_connections=THREADS))
    others = SSMProvider(boto3_client=ssm)

    def look_of_others() -> object:
        return others.get(NAME, max_age=300, decrypt=True)

    tokens = TokenReader()
    if what == "reader":
        return at_once(lambda: tokens[TENANT])
    if what == "others":
        return at_once(look_of_others)
    dictionary = {TENANT: tokens[TENANT]}
    return seconds_each(
        {
            "dictionary": lambda: dictionary[TENANT],
            "reader": lambda: tokens[TENANT],
            "others": look_of_others,
        },
        look_ups,
    )


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))  # noqa: T201  its answer
