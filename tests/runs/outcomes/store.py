"""Parameter Store that doesn't take acme's token."""

from tests.helpers.account import KEY_ARN
from tests.helpers.scene import Case, Scene, hitting, previous

ACME = "/visma/tokens/acme"


def refused(words: str, code: str, reason: str, message: str = "", detail: str = "") -> Case:
    return hitting(
        ["acme"],
        words,
        lambda scene: scene.aws.fail("PutParameter", code, message, Name=ACME),
        reason,
        f"Writing {ACME} failed: {code}{detail}",
    )


def a_string(scene: Scene) -> None:
    """Put what stands there as a String, which moto lets be overwritten, and AWS doesn't."""
    scene.account.ssm.delete_parameter(Name=ACME)
    scene.account.ssm.put_parameter(Name=ACME, Value=previous("acme"), Type="String")
    scene.aws.fail("PutParameter", "HierarchyTypeMismatchException", Name=ACME)


def throttled_once(scene: Scene) -> None:
    scene.aws.fail("PutParameter", "ThrottlingException", times=1, Name=ACME)


STORE = [
    Case(words="throttled once", arrange=throttled_once),
    refused("throttled for good", "ThrottlingException", "StoreUnavailable"),
    refused("an internal error", "InternalServerError", "StoreUnavailable"),
    refused("other updates are under way", "TooManyUpdates", "StoreUnavailable"),
    refused("access is denied", "AccessDeniedException", "StoreDenied"),
    refused(
        "the key is disabled",
        "InvalidKeyId",
        "StoreDenied",
        f"{KEY_ARN} is disabled. (Service: AWSKMS; Error Code: DisabledException; Proxy: null)",
        ", DisabledException",
    ),
    refused(
        "the key is pending deletion",
        "InvalidKeyId",
        "StoreDenied",
        f"{KEY_ARN} is pending deletion. (Service: AWSKMS; Error Code: KMSInvalidStateException)",
        ", KMSInvalidStateException",
    ),
    refused("an invalid key, and no word why", "InvalidKeyId", "StoreDenied"),
    refused("no room for more parameters", "ParameterLimitExceeded", "StoreDenied"),
    refused(
        "a label on the oldest version", "ParameterMaxVersionLimitExceeded", "ParameterUnwritable"
    ),
    hitting(
        ["acme"],
        "a parameter of type String",
        a_string,
        "ParameterUnwritable",
        f"Writing {ACME} failed: HierarchyTypeMismatchException",
    ),
    refused("a request that is not valid", "ValidationException", "ParameterUnwritable"),
]
