"""The example of a Lambda function, called as the other examples are: paths in, statuses out."""

import importlib
import os
import sys


def main(tenant: str, api: str, cache_seconds: str = "300") -> int:
    os.environ |= {"TENANT": tenant, "API": api, "CACHE_SECONDS": cache_seconds}
    sys.path.insert(0, "examples/lambda/src")
    handler = importlib.import_module("call_api").lambda_handler
    failed = 0
    for line in sys.stdin:
        path = line.rstrip("\n")
        try:
            status = handler({"path": path}, None)["status"]
        except Exception as error:  # noqa: BLE001  Lambda's runtime takes all too
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            status = "---"
        failed |= not str(status).startswith("2")
        print(status, path, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
