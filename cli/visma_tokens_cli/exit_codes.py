"""The exit codes of the command; 2 is Typer's for a wrong command line, 143 is for SIGTERM."""

WELL = 0
NOT_WELL = 1  # a tenant or a check is not well
CANT = 3  # the command could not do its work
UNCHANGED = 4  # the command refused, and changed nothing
DEFECT = 70  # a defect of the command
INTERRUPTED = 130
NOBODY_READS = 141  # stdout was closed; other tools end by SIGPIPE then
