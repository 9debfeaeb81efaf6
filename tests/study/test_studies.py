"""A sample of campaigns/test_studies.py."""

from campaigns.test_studies import *  # noqa: F403
