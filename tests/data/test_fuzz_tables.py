"""A sample of the tables that campaigns/test_fuzz_tables.py makes up."""

from campaigns.test_fuzz_tables import *  # noqa: F403
