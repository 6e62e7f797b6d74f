"""Limits of rate and time."""
