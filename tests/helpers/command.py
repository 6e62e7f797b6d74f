"""How tests call `visma-tokens`: as a person does, in a process of its own."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.aws import Account
from tests.helpers.programs import finished

COMMANDS = [
    *("status", "add", "remove", "enable", "disable", "apply", "renew", "doctor", "token"),
    *("secret stage", "secret status"),
]
FIND = ["cloudformation:DescribeStacks", "lambda:GetFunctionConfiguration"]  # the stack


@dataclass(frozen=True, kw_only=True)
class Done:
    out: str
    err: str
    code: int


@dataclass(frozen=True, kw_only=True)
class Command:
    path: Path
    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, said: str = "", **variables: str) -> Done:
        """Run it with that on its standard input."""
        environment = self.environment | variables
        done = finished([self.path, *arguments], env=environment, cwd=self.folder, said=said)
        return Done(out=done.stdout, err=done.stderr, code=done.returncode)


def environment_of(account: Account) -> dict[str, str]:
    """Return an environment with that account's AWS, and nothing of this checkout."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    direct = {"NO_PROXY": "127.0.0.1,localhost"}
    return kept | account.environment | nowhere | direct


def credentials_of(account: Account, role_arn: str) -> dict[str, str]:
    """Return a role's credentials as variables."""
    keys = account.sts.assume_role(RoleArn=role_arn, RoleSessionName="tests")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
    }


@contextmanager
def credentials_for(account: Account, actions: list[str]) -> Iterator[dict[str, str]]:
    """Make a role that may do that and nothing else, and give its credentials as variables."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with role_with(account, document) as role_arn:
        yield credentials_of(account, role_arn)


@contextmanager
def role_with(account: Account, document: str) -> Iterator[str]:
    """Make a role with that policy and nothing else, and give its ARN."""
    name, iam = "tests", account.iam
    with ExitStack() as made:
        arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
        made.callback(iam.delete_policy, PolicyArn=arn)
        role_arn = account.make_role(name, policy_arn=arn)
        made.callback(iam.delete_role, RoleName=name)
        made.callback(iam.detach_role_policy, RoleName=name, PolicyArn=arn)
        yield role_arn
