"""Intervals with a formula."""

from statistics import NormalDist


def quantile(confidence: float) -> float:
    """Deviations on either side of a normal mean that hold this share; from the tail, which is never rounded away."""
    return -NormalDist().inv_cdf((1 - confidence) / 2)


def wilson(correct: int, rows: int, confidence: float) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927): unrounded (low, high) within [0, 1].

    Raises ValueError where there is no proportion: no rows, or a count outside of them.
    """
    if rows <= 0 or not 0 <= correct <= rows:
        raise ValueError(f"{correct} of {rows} rows is not a proportion")
    z = quantile(confidence)
    share, weight = correct / rows, z * z / rows
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * (share * (1 - share) / rows + weight / (4 * rows)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
