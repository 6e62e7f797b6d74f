"""The configured tenants."""
