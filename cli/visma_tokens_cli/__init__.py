"""The operator's command of the Visma token issuer."""
