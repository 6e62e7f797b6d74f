"""From the request for a token to its parameter."""
