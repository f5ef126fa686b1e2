"""`python -m examples.loop`."""

import sys

from examples.loop.run import main

sys.exit(main())
