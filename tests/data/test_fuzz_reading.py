"""A sample of the files of other programs that campaigns/test_fuzz_reading.py makes up."""

from campaigns.test_fuzz_reading import *  # noqa: F403
