"""``python -m ava``: the same as ``ava-loss``."""

import sys

from ava.cli import main

sys.exit(main())
