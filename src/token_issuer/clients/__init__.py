"""The secrets of clients, and their versions."""
