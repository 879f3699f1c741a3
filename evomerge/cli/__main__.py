"""`python -m evomerge.cli`: the original's flags, or a verb of `evomerge`."""

import sys

from evomerge.cli.main import main
from evomerge.cli.original import app

if sys.argv[1:2] and not sys.argv[1].startswith("-"):
    main()
main(app)
