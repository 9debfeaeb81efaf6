"""Side by side in one run: contestants take turns, so that a slow minute of the machine hits all of them."""

from collections.abc import Callable
from statistics import median


def interleaved(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of what each contestant returns over the rounds; a first round that warms up is not counted."""
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            result = contestant()
            if number:
                results[name].append(result)
    return {name: median(values) for name, values in results.items()}
