"""What passes through the reader, and what a tool that shows local variables makes of it."""

from collections.abc import Iterator
from contextlib import suppress


class Interruption(BaseException):
    """As a signal's handler may raise, anywhere: of Celery's time limit, or of Ctrl-C."""


def frames_of(error: BaseException | None) -> Iterator[str]:
    """Yield what a tool that shows local variables would show of ours, causes and contexts too."""
    while error:
        yield repr(error)
        trace = error.__traceback__
        while trace:
            code = trace.tb_frame.f_code
            is_ours = trace.tb_frame.f_globals["__name__"].startswith("visma_tokens")
            if is_ours and code.co_name != "_values":  # which hides what boto3 has returned
                for value in trace.tb_frame.f_locals.values():
                    with suppress(AttributeError):  # of what is half made
                        yield repr(value)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
