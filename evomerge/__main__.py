"""`python -m evomerge` is `evomerge`."""

from evomerge.cli.main import main

main()
