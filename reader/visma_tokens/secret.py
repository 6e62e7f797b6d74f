"""A text that doesn't show itself where values are shown."""

from typing import SupportsIndex


class Secret(str):
    """A token, or a header that holds one; printing it on purpose is up to its owner.

    So is a part of it, or a longer text: debuggers cut what is long before they take its `repr`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Hide it."""
        return "'[secure]'"

    def __getitem__(self, key: SupportsIndex | slice) -> "Secret":
        """Return a part that hides too."""
        return Secret(super().__getitem__(key))

    def __add__(self, other: str) -> "Secret":
        """Return a longer text that hides too."""
        return Secret(super().__add__(other))

    def __radd__(self, other: str) -> "Secret":
        """Return the same for a text that goes before it."""
        return Secret(str.__add__(other, self))
