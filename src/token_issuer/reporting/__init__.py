"""What a run says: report, log lines, metrics, events."""
