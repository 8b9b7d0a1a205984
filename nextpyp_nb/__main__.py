"""`python -m nextpyp_nb` is `nextpyp-nb`."""

import sys

from nextpyp_nb.cli import main

sys.exit(main())
