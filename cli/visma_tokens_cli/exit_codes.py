"""The exit codes of the command; 2 is a wrong command line, and 143 is SIGTERM."""

WELL = 0
NOT_WELL = 1  # a tenant, or a check
CANT = 3  # the command can't do its work
UNCHANGED = 4  # it did not, since it would have been wrong to
DEFECT = 70  # of the command
INTERRUPTED = 130
NOBODY_READS = 141  # as of other tools that SIGPIPE ends
