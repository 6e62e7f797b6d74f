"""A text that doesn't show itself where values are shown."""


class Secret(str):
    """A token, or a header that holds one; printing it on purpose is up to its owner."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Hide it."""
        return "'[secure]'"
