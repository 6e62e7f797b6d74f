"""Read and write tenant documents in Parameter Store, where others may write at the same time."""

from functools import partial
from typing import TYPE_CHECKING

from botocore.config import Config

from token_issuer.limits.pacer import Pacer
from token_issuer.tenants.parameters import TenantDocuments
from visma_tokens_cli.documents import Documents, Parameter, check_size, parse_documents
from visma_tokens_cli.exit_codes import NOT_WELL, UNCHANGED
from visma_tokens_cli.failures import CommandFailed, answer_unless
from visma_tokens_cli.screen import say
from visma_tokens_cli.stack import Stack, reads

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


class Store:
    """The tenant documents below a path of Parameter Store; `reads` and `writes` set the pace."""

    def __init__(self, ssm: "SSMClient", path: str, *, reads: Pacer, writes: Pacer) -> None:
        self._ssm = ssm
        self._path = path
        self._reads = reads
        self._writes = writes

    def read(self) -> Documents:
        """Read all documents; raises TenantsUnreadable."""
        parameters = TenantDocuments(self._ssm, self._path, self._reads).read()
        return parse_documents(parameters, self._path)

    def create(self, name: str, text: str) -> None:
        """Create a parameter; raises CommandFailed if somebody else has created it."""
        put = partial(self._put, name, text, overwrite=False)
        if answer_unless(put, "ParameterAlreadyExists") is None:
            found = self._get(name)
            if found is None or found.text != text:  # ours: the call was repeated after success
                raise _changed(name)

    def overwrite(self, parameter: Parameter, text: str) -> None:
        """Replace the text that was read; raises CommandFailed if somebody else has changed it.

        PutParameter has no condition. So the version is compared right before the write. If the
        write skips a version, somebody else wrote in between: their text is put back. In that
        moment a run may read our text, and if the command is killed then, our text stays.
        """
        name = parameter.name
        self._compare(parameter)
        version = self._put(name, text, overwrite=True)
        if version <= parameter.version:  # somebody deleted it, and we made it anew
            self.delete(Parameter(name=name, text=text, version=version))
            raise _changed(name)
        self._put_back(name, parameter.version, text, version)

    def delete(self, parameter: Parameter) -> None:
        """Delete what was read; raises CommandFailed if somebody else has changed it.

        DeleteParameter has no condition, and deletes the history too. So a write between our read
        and our call, some hundredths of a second, is lost.
        """
        self._compare(parameter)
        delete = partial(self._ssm.delete_parameter, Name=parameter.name)
        # ParameterNotFound: the call was repeated after success
        answer_unless(partial(self._writes.send, delete), "ParameterNotFound")

    def _compare(self, parameter: Parameter) -> None:
        if self._get(parameter.name) != parameter:
            raise _changed(parameter.name)

    def _put_back(self, name: str, before: int, ours: str, version: int) -> None:
        """Put back what others wrote between two versions; raises CommandFailed if they did.

        If it ends early, it says which of their versions is not put back.
        """
        first, theirs = version, version - 1
        try:
            while other := self._overwritten(name, before, version, ours):
                theirs = other.version
                self._compare(Parameter(name=name, text=ours, version=version))
                before, ours = version, other.text
                version = self._put(name, other.text, overwrite=True)
                theirs = version - 1
        except Exception as error:
            raise _lost(name, theirs) from error
        except BaseException:
            lost = _lost(name, theirs)
            say(f"{lost.detail}. {lost.remedy}")
            raise
        if version > first:
            raise _changed(name)

    def _overwritten(self, name: str, before: int, version: int, ours: str) -> Parameter | None:
        """Return the newest version in between with a text of others; repeated calls have ours."""
        for number in range(version - 1, before, -1):
            found = self._get(f"{name}:{number}")
            if found and found.text != ours:
                return found
        return None

    def _get(self, name: str) -> Parameter | None:
        read = partial(self._reads.send, partial(self._ssm.get_parameter, Name=name))
        answer = answer_unless(read, "ParameterNotFound", "ParameterVersionNotFound")
        if answer is None:
            return None
        found = answer["Parameter"]
        return Parameter(name=found["Name"], text=found["Value"], version=found["Version"])

    def _put(self, name: str, text: str, *, overwrite: bool) -> int:
        check_size(name, text)
        put = partial(self._ssm.put_parameter, Name=name, Value=text, Type="String")
        # Intelligent-Tiering keeps a text that fits in a standard parameter, which is free
        answer = self._writes.send(partial(put, Tier="Intelligent-Tiering", Overwrite=overwrite))
        return answer["Version"]


def open_store(stack: Stack) -> Store:
    """Return the store of a stack's tenant documents."""
    once = Config(retries={"total_max_attempts": 1})  # the pacer repeats
    return Store(
        stack.aws.client("ssm", config=once),
        stack.settings.tenants_path,
        reads=reads(),
        writes=stack.writes(),
    )


def _changed(name: str) -> CommandFailed:
    return CommandFailed(
        f"{name} was changed by somebody else meanwhile",
        "Theirs stands. Look at it, and run the command again.",
        code=UNCHANGED,
    )


def _lost(name: str, version: int) -> CommandFailed:
    return CommandFailed(
        f"{name} is being changed by others: their version {version} was overwritten",
        f"Look at it (aws ssm get-parameter --name {name}:{version}), and put it back by hand.",
        code=NOT_WELL,
    )
