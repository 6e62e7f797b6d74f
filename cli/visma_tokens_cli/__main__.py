"""`python -m visma_tokens_cli` is `visma-tokens`."""

from visma_tokens_cli.commands import app

app()
