"""Tests that need no server: `python3 -m unittest` in the folder above."""

import logging

# What parks and stops is said in the outcomes, too.
logging.disable(logging.CRITICAL)
