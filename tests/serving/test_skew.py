"""A sample of the tables with which campaigns/test_skew.py asks a model in every way."""

import pytest

from campaigns.test_skew import all_ways_agree, quick  # noqa: F401 - a fixture


@pytest.mark.parametrize("seed", range(6))
def test_every_way_to_the_model_gives_the_same_answers(seed):
    all_ways_agree(seed)
