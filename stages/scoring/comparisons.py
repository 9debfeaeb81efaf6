"""Two classifiers on the same rows."""


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947): is one of two classifiers right on more of the same rows?

    only_first, only_second: rows on which one of them alone is right; under the null hypothesis each is as likely.
    """
    # Here, because it takes a third of a second, and most tables are compared with none.
    from scipy.special import bdtr

    discordant = only_first + only_second
    if not discordant:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))
