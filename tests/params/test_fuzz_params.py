"""A sample of the parameters that campaigns/test_fuzz_params.py makes up."""

from campaigns.test_fuzz_params import *  # noqa: F403
