"""A sample of the damaged files that campaigns/test_fuzz_bytes.py makes up."""

from campaigns.test_fuzz_bytes import *  # noqa: F403
