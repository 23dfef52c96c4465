"""`python -m labdock.cli`: the command line where the script `labdock` is not on the path."""

from labdock.cli import main

main()
