"""What the rows of a run say taken together. Pure functions; a rollout without a reward counts in none of the means."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import NormalDist

from pydantic import BaseModel, ConfigDict

from evals.models import Row


class Counts(BaseModel):
    model_config = ConfigDict(frozen=True)

    total: int
    scored: int
    solved: int
    """Rollouts with a reward of exactly 1."""
    infrastructure_failures: int


def counts(rows: Sequence[Row]) -> Counts:
    """How many rollouts there are, and how they went."""
    rewards = [row.reward for row in rows if row.reward is not None]
    return Counts(
        total=len(rows),
        scored=len(rewards),
        solved=sum(reward == 1.0 for reward in rewards),
        infrastructure_failures=sum(row.infrastructure_failure for row in rows),
    )


def mean_reward(rows: Iterable[Row]) -> float | None:
    """The mean over all scored rollouts, None if there is none."""
    rewards = [row.reward for row in rows if row.reward is not None]
    return math.fsum(rewards) / len(rewards) if rewards else None


def interval_95(rows: Iterable[Row]) -> tuple[float, float] | None:
    """95% confidence interval of the mean reward, within [0, 1]; None with fewer than two instances.

    Attempts at one instance resemble each other, so the standard error is clustered by instance: with deviations
    d = reward - mean, SE^2 = G/(G-1) * sum over the G instances of (sum of their d)^2 / n^2. Source: Cameron, Miller:
    "A Practitioner's Guide to Cluster-Robust Inference", Journal of Human Resources 50(2), 2015, with its small-sample
    factor and its t distribution of G-1 degrees of freedom; for evals see Miller, "Adding Error Bars to Evals",
    arXiv:2411.00640, 2024. With one attempt each it is the usual interval of a mean. Where all rewards are equal it has
    no width, which says that the sample showed no spread, not that there is none.
    """
    clusters = _by_instance(rows)
    if len(clusters) < 2:
        return None
    n = sum(map(len, clusters.values()))
    mean = math.fsum(reward for rewards in clusters.values() for reward in rewards) / n
    spread = math.fsum(math.fsum(reward - mean for reward in rewards) ** 2 for rewards in clusters.values())
    error = math.sqrt(len(clusters) / (len(clusters) - 1) * spread) / n
    margin = student_t_975(len(clusters) - 1) * error
    return max(0.0, mean - margin), min(1.0, mean + margin)


class Difference(BaseModel):
    """How much better one run did than another on the instances that both have scored."""

    model_config = ConfigDict(frozen=True)

    instances: int
    mean: float
    """After less before; negative is worse."""
    interval_95: tuple[float, float] | None
    """None with fewer than two instances."""

    @property
    def is_regression(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.interval_95 is not None and self.interval_95[1] < 0


def paired_difference(before: Iterable[Row], after: Iterable[Row]) -> Difference | None:
    """The mean over instances of the difference of their mean rewards; None if the runs share no scored instance.

    Pairing takes out how hard the instances are, which is most of the spread: see Miller, "Adding Error Bars to Evals",
    arXiv:2411.00640, section 4. The interval is that of a mean, with the t distribution.
    """
    earlier, later = _by_instance(before), _by_instance(after)
    differences = [
        math.fsum(later[name]) / len(later[name]) - math.fsum(earlier[name]) / len(earlier[name])
        for name in earlier.keys() & later.keys()
    ]
    if not differences:
        return None
    n, mean = len(differences), math.fsum(differences) / len(differences)
    interval = None
    if n > 1:
        variance = math.fsum((difference - mean) ** 2 for difference in differences) / (n - 1)
        margin = student_t_975(n - 1) * math.sqrt(variance / n)
        interval = mean - margin, mean + margin
    return Difference(instances=n, mean=mean, interval_95=interval)


PASS_AT = (1, 2, 5, 10, 20, 50, 100)
"""The usual ks."""


def pass_at_k(rows: Iterable[Row]) -> dict[int, float]:
    """By k, the chance that at least one of k attempts solves an instance, averaged over the instances.

    The unbiased estimator 1 - C(n-c, k) / C(n, k) for n scored attempts of which c solved the instance: Chen et al.,
    "Evaluating Large Language Models Trained on Code", arXiv:2107.03374, 2021. The ks are those of `PASS_AT` up to the
    fewest scored attempts that an instance has, and that number itself: beyond it there would be fewer instances to
    average over. Instances without a score are left out.
    """
    attempts = [(len(rewards), _solved(rewards)) for rewards in _by_instance(rows).values()]
    fewest = min((n for n, _ in attempts), default=0)
    return {
        k: math.fsum(1 - math.comb(n - c, k) / math.comb(n, k) for n, c in attempts) / len(attempts)
        for k in sorted({*PASS_AT, fewest})
        if 0 < k <= fewest
    }


def unstable(rows: Iterable[Row]) -> list[str]:
    """The instances that some scored attempts solved and others did not, by name."""
    return sorted(name for name, rewards in _by_instance(rows).items() if 0 < _solved(rewards) < len(rewards))


class McNemar(BaseModel):
    """Whether two runs differ in what they solve, judged by the instances that only one of them solved."""

    model_config = ConfigDict(frozen=True)

    instances: int
    """That both have scored."""
    only_before: int
    """Instances that only the earlier run solved."""
    only_after: int
    p_value: float
    """Two-sided: how likely a split at least as uneven is where both are equally good."""


def mcnemar(before: Iterable[Row], after: Iterable[Row]) -> McNemar | None:
    """McNemar's exact test on the instances that both runs have scored; None if there is none.

    An instance counts as solved where more than half of its scored attempts solved it, so that it counts once however
    often it was tried. Under the null hypothesis the instances that only one run solved fall to either with
    probability 1/2: a binomial test. Source: McNemar, "Note on the Sampling Error of the Difference Between Correlated
    Proportions or Percentages", Psychometrika 12(2), 1947; the exact form as in Fagerland, Lydersen, Laake, BMC Medical
    Research Methodology 13:91, 2013.
    """
    earlier, later = _by_instance(before), _by_instance(after)
    shared = earlier.keys() & later.keys()
    if not shared:
        return None
    pairs = [(_mostly_solved(earlier[name]), _mostly_solved(later[name])) for name in shared]
    only_before, only_after = pairs.count((True, False)), pairs.count((False, True))
    differing = only_before + only_after
    tail = sum(math.comb(differing, count) for count in range(min(only_before, only_after) + 1))
    p_value = min(1.0, 2 * tail / 2**differing)
    return McNemar(instances=len(shared), only_before=only_before, only_after=only_after, p_value=p_value)


def _solved(rewards: Iterable[float]) -> int:
    return sum(reward == 1.0 for reward in rewards)


def _mostly_solved(rewards: Sequence[float]) -> bool:
    return 2 * _solved(rewards) > len(rewards)


def _by_instance(rows: Iterable[Row]) -> dict[str, list[float]]:
    """The rewards of each instance's attempts."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.reward is not None:
            found[row.instance or f"seed {row.seed}"].append(row.reward)
    return found


def student_t_975(degrees: int) -> float:
    """The 97.5% quantile of Student's t distribution, to 0.2% or better.

    Closed forms for 1 and 2 degrees of freedom; from 3 on the asymptotic expansion of Abramowitz and Stegun, "Handbook
    of Mathematical Functions", 26.7.5.
    """
    if degrees == 1:
        return math.tan(math.pi * 0.475)
    if degrees == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z = NormalDist().inv_cdf(0.975)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))
