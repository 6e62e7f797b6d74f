"""A text that is hidden wherever values are printed by `repr`."""

from typing import SupportsIndex


class Secret(str):
    """A token, or a header with one; `str` shows it, `repr` doesn't.

    Slices and sums are secrets too: debuggers cut long texts before they call `repr`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Return a placeholder."""
        return "'[secure]'"

    def __getitem__(self, key: SupportsIndex | slice) -> "Secret":
        """Return a part as a Secret."""
        return Secret(super().__getitem__(key))

    def __add__(self, other: str) -> "Secret":
        """Return the longer text as a Secret."""
        return Secret(super().__add__(other))

    def __radd__(self, other: str) -> "Secret":
        """Return the same with the other text first."""
        return Secret(str.__add__(other, self))
