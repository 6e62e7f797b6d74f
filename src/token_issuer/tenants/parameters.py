"""Parameter Store → the parameters that configure tenants."""

from functools import partial
from typing import TYPE_CHECKING

from token_issuer.errors import NoTimeLeft, TenantsUnreadable
from token_issuer.foreign_errors import AWS_ERRORS, aws_code
from token_issuer.limits.pacer import Pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import GetParametersByPathResultTypeDef, ParameterTypeDef


class TenantDocuments:
    """The parameters below a path."""

    def __init__(self, ssm: "SSMClient", path: str, reads: Pacer) -> None:
        self._ssm = ssm
        self._path = path
        self._reads = reads

    def read(self) -> "list[ParameterTypeDef]":
        """Return all parameters; raises TenantsUnreadable unless all were listed.

        Ten parameters a page, and all pages:
        https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html
        """
        list_page = partial(
            self._ssm.get_parameters_by_path, Path=self._path, Recursive=True, WithDecryption=False
        )
        try:
            pages = _pages(list_page, self._reads)
            return [one for page in pages for one in _checked(page["Parameters"])]
        except NoTimeLeft as error:
            raise TenantsUnreadable(f"Listing {self._path}: {error.detail}") from None
        except AWS_ERRORS as error:
            code = aws_code(error)
            raise TenantsUnreadable(f"Listing {self._path} failed: {code}", code=code) from error


def _pages(
    list_page: "Callable[..., GetParametersByPathResultTypeDef]", pacer: Pacer
) -> "Iterator[GetParametersByPathResultTypeDef]":
    """Yield page after page; raises ValueError where they go in a circle.

    No paginator does that: one that has failed says that there are no more pages.
    """
    page, asked = pacer.send(list_page), set[str]()
    yield page
    while following := page.get("NextToken"):
        if following in asked:
            raise ValueError
        asked.add(following)
        page = pacer.send(partial(list_page, NextToken=following))
        yield page


def _checked(parameters: "list[ParameterTypeDef]") -> "list[ParameterTypeDef]":
    """Return parameters that are such; raises KeyError or TypeError."""
    for one in parameters:
        if not all(isinstance(one[member], str) for member in ("Name", "Type", "Value")):
            raise TypeError
    return parameters
