"""What the issuer remembers between runs."""
