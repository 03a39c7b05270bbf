import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from decametre.errors import TrainingError
from decametre.training.load_balancing import (
    DEAD_BAND,
    MIN_SLOPE_SHARE,
    WINDOW_STEPS,
    LoadBalancer,
    Speed,
    efficiency,
    equal_shares,
    fit_speed,
    ideal_throughput,
    optimal_shares,
    ranks_to_exclude,
    weighted_shares,
)

SPEEDS = st.builds(
    Speed,
    st.sampled_from([0.0, 0.5, 3.0]) | st.floats(0, 9),
    st.sampled_from([1.0, 2.0]) | st.floats(0.1, 9),
    st.none() | st.integers(0, 12),
)


def slowest(speeds, shares):
    return max(speed.seconds(share) for speed, share in zip(speeds, shares, strict=True))


def held(speeds, batch, unit):
    return sum(batch if s.most is None else s.most // unit * unit for s in speeds) >= batch


def every_choice(speeds, batch, unit):
    """All shares that memory allows."""
    ranges = [range(0, 1 + (batch if s.most is None else s.most), unit) for s in speeds]
    return (shares for shares in itertools.product(*ranges) if sum(shares) == batch)


# Fitting.


def test_a_rank_without_samples_takes_no_time():
    assert Speed(2.0, 0.5).seconds(0) == 0
    assert Speed(2.0, 0.5).seconds(4) == 4


@pytest.mark.parametrize("truth", [Speed(0.3, 0.02, 64), Speed(0.0, 1.5)])
def test_a_straight_line_is_found(truth):
    shares = [1, 2, 8, 8, 32]
    fitted = fit_speed(shares, [truth.seconds(b) for b in shares], truth.most)
    assert fitted.fixed == pytest.approx(truth.fixed, abs=1e-12)
    assert fitted.slope == pytest.approx(truth.slope)
    assert fitted.most == truth.most


def test_with_a_single_share_all_time_is_proportional():
    assert fit_speed([4, 4, 4], [2.0, 2.0, 9.0]) == Speed(0.0, 0.5)


def test_samples_always_take_time():
    fitted = fit_speed([1, 4, 8], [2.0, 2.0, 1.9])
    assert fitted.seconds(8) == pytest.approx(2.0, rel=0.1)
    assert fitted.slope == pytest.approx(MIN_SLOPE_SHARE * 1.9 / 8)


@settings(max_examples=50)
@given(st.lists(st.floats(0.1, 10), min_size=4, max_size=4))
def test_the_fit_is_the_bounded_least_squares(seconds):
    shares, times = np.array([1, 3, 4, 9]), np.array(seconds)
    fitted = fit_speed(shares.tolist(), seconds)
    columns = np.stack([1 / times, shares / times], 1)
    floor = MIN_SLOPE_SHARE * times[-1] / 9
    best = lsq_linear(columns, np.ones(4), ([0, floor], [math.inf, math.inf]), method="bvls")
    error = columns @ (fitted.fixed, fitted.slope) - 1
    assert fitted.fixed >= 0 < fitted.slope
    assert 0.5 * (error**2).sum() <= best.cost + 1e-9


def test_single_delays_do_not_affect_the_fit():
    truth, random = Speed(0.1, 0.01), np.random.default_rng(0)
    shares = [1, 8, 64] * 5
    times = np.array([truth.seconds(b) for b in shares]) * random.normal(1, 0.02, 15)
    times[[0, 4, 8, 9]] *= 10
    fitted = fit_speed(shares, times.tolist())
    for share in (1, 30, 100):
        assert fitted.seconds(share) == pytest.approx(truth.seconds(share), rel=0.05)


# Dividing a batch.


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 9) | st.floats(0, 1e6), min_size=1, max_size=6).filter(any),
    st.integers(0, 50),
    st.integers(1, 4),
)
def test_weighted_shares_are_quotas_rounded(weights, units, unit):
    shares = weighted_shares(weights, units * unit, unit)
    assert sum(shares) == units * unit
    for share, weight in zip(shares, weights, strict=True):
        assert share % unit == 0
        assert abs(share / unit - units * weight / math.fsum(weights)) < 1 + 1e-9
        assert weight or not share


@pytest.mark.parametrize(
    ("weights", "batch", "unit", "shares"),
    [
        ([3, 1], 32, 1, [24, 8]),
        ([3, 1], 6, 1, [5, 1]),
        ([0.1, 0.2, 0.7], 10, 1, [1, 2, 7]),
        ([1, 2, 3.4], 5, 1, [1, 1, 3]),
        ([2, 1], 12, 4, [8, 4]),
    ],
)
def test_weighted_shares(weights, batch, unit, shares):
    assert weighted_shares(weights, batch, unit) == shares


def test_equal_shares():
    assert equal_shares(3, 8) == [3, 3, 2]
    assert equal_shares(3, 8, 4) == [4, 4, 0]


@pytest.mark.parametrize("weights", [[0, 0], [-1, 2], [math.inf, 1], [math.nan, 1]])
def test_invalid_weights_are_refused(weights):
    with pytest.raises(TrainingError, match="cannot divide a batch"):
        weighted_shares(weights, 8)


@pytest.mark.parametrize(
    "divide",
    [
        lambda: equal_shares(2, 9, 2),
        lambda: optimal_shares([Speed(0, 1)], 9, 2),
        lambda: ranks_to_exclude([Speed(0, 1), Speed(0, 1)], 9, lambda world: 0.0, 2),
    ],
)
def test_a_batch_must_be_a_multiple_of_micro_batches(divide):
    with pytest.raises(TrainingError, match=r"9 samples is not a multiple .* of 2; use 10"):
        divide()


@settings(max_examples=50)
@given(st.lists(SPEEDS, min_size=1, max_size=3), st.integers(0, 6), st.integers(1, 2))
def test_no_other_shares_are_faster(speeds, units, unit):
    batch = units * unit
    if not held(speeds, batch, unit):
        with pytest.raises(TrainingError, match="fit into the devices' memory"):
            optimal_shares(speeds, batch, unit)
        return
    shares = optimal_shares(speeds, batch, unit)
    choices = set(every_choice(speeds, batch, unit))
    assert tuple(shares) in choices
    assert slowest(speeds, shares) == min(slowest(speeds, choice) for choice in choices)


def test_a_rank_with_a_long_fixed_time_gets_no_samples():
    assert optimal_shares([Speed(0, 1), Speed(9, 0.1)], 8) == [8, 0]
    assert optimal_shares([Speed(0, 1), Speed(9, 0.1)], 12) == [9, 3]


def test_memory_is_not_exceeded():
    assert optimal_shares([Speed(0, 1, 7), Speed(0, 100)], 12, 2) == [6, 6]
    with pytest.raises(TrainingError, match="only 10 samples of a batch of 12 fit"):
        optimal_shares([Speed(0, 1, 7), Speed(0, 100, 5)], 12, 2)


# Leaving ranks out.


@settings(max_examples=50)
@given(
    st.lists(SPEEDS, min_size=1, max_size=4),
    st.integers(1, 6),
    st.integers(1, 2),
    st.sampled_from([0.0, 0.3, 3.0]),
)
def test_no_other_subset_of_ranks_is_faster(speeds, units, unit, cost):
    batch = units * unit
    if not held(speeds, batch, unit):
        with pytest.raises(TrainingError, match="fit into the devices' memory"):
            ranks_to_exclude(speeds, batch, lambda world: 0.0, unit)
        return

    def exchange(world):
        return cost * (world - 1)

    def step(team):
        members = [speeds[rank] for rank in team]
        return slowest(members, optimal_shares(members, batch, unit)) + exchange(len(team))

    everyone = range(len(speeds))
    teams = [t for n in everyone for t in itertools.combinations(everyone, n + 1)]
    best = min(step(t) for t in teams if held([speeds[rank] for rank in t], batch, unit))
    left_out, faster = ranks_to_exclude(speeds, batch, exchange, unit)
    assert step([rank for rank in everyone if rank not in left_out]) == pytest.approx(best)
    assert faster == pytest.approx(step(everyone) / best)


def test_a_device_half_as_fast_adds_half_the_throughput():
    fast, half = Speed(0, 1e-3), Speed(0, 2e-3)

    def exchange(world):
        return 1e-3 * (world - 1)

    alone = slowest([fast], [96])
    assert slowest([fast, half], equal_shares(2, 96)) + exchange(2) > alone
    together = slowest([fast, half], optimal_shares([fast, half], 96)) + exchange(2)
    assert alone / together == pytest.approx(1.5, rel=0.02)
    assert ranks_to_exclude([fast, half], 96, exchange) == ((), 1.0)


def test_a_cpu_next_to_a_fast_device_slows_it_down():
    left_out, faster = ranks_to_exclude(
        [Speed(0.01, 1e-3), Speed(0, 0.05), Speed(0.01, 1e-3)], 64, lambda world: 0.002 * world
    )
    assert left_out == (1,)
    assert faster == pytest.approx((0.01 + 0.031 + 0.006) / (0.01 + 0.032 + 0.004), rel=0.03)


def test_no_rank_is_excluded_if_all_help():
    assert ranks_to_exclude([Speed(0, 1)] * 4, 8, lambda world: 0.1 * world) == ((), 1.0)


# Correcting shares in training.


class Job:
    """Steps of a training run, of which only the times are made up."""

    def __init__(self, speeds, batch, unit=1, noise=0.0, shares=None, seed=0):
        self.balancer = LoadBalancer(shares or equal_shares(len(speeds), batch, unit), speeds, unit)
        self.noise, self.random = noise, np.random.default_rng(seed)
        self.changes, self.seconds = 0, 0.0

    def run(self, truth, steps, factors=1.0):
        """Shares after some steps of devices that are `truth`; factors on the first times."""
        for step in range(steps):
            before = self.balancer.shares
            times = np.array([s.seconds(b) for s, b in zip(truth, before, strict=True)])
            self.seconds += times.max()
            times *= self.random.lognormal(0, self.noise, len(times))
            self.balancer.observe((times if step else times * factors).tolist())
            after = self.balancer.propose()
            if after is None:
                assert self.balancer.shares is before
                continue
            self.changes += 1
            self.bounded(before, after)
        return self.balancer.shares

    def bounded(self, before, after):
        unit = self.balancer.unit
        assert after == self.balancer.shares != before
        assert sum(after) == sum(before)
        for old, new, speed in zip(before, after, self.balancer.speeds, strict=True):
            assert new % unit == 0
            assert old // unit // 2 <= new // unit <= max(1, 2 * old // unit)
            assert speed.most is None or new <= speed.most


@settings(max_examples=25)
@given(
    st.lists(SPEEDS, min_size=1, max_size=4),
    st.integers(1, 8),
    st.integers(1, 2),
    st.lists(st.lists(SPEEDS, min_size=4, max_size=4), min_size=1, max_size=4),
)
def test_shares_stay_within_limits_for_any_times(speeds, units, unit, truths):
    if held(speeds, units * unit, unit):
        shares = optimal_shares(speeds, units * unit, unit)
        job = Job(speeds, units * unit, unit, shares=shares)
        for truth in truths:
            job.run(truth[: len(speeds)], WINDOW_STEPS)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("fixed", [0.0, 0.05])
@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_shares_approach_the_ideal(ratio, fixed, noise):
    speeds = [Speed(fixed, 0.01), Speed(fixed, 0.01 * ratio)]
    job = Job(speeds, 64, noise=noise)
    job.run(speeds, 200)
    shares = job.run(speeds, 200)
    times = [speed.seconds(share) for speed, share in zip(speeds, shares, strict=True)]
    assert efficiency(shares, times, max(times)) >= 0.92
    assert max(times) <= slowest(speeds, optimal_shares(speeds, 64)) * 1.08


def test_a_wrong_fit_is_corrected():
    wrong, truth = [Speed(0.5, 0.001)] * 2, [Speed(0, 0.01), Speed(0, 0.02)]
    job = Job(wrong, 128)
    shares = job.run(truth, 300)
    assert slowest(truth, shares) <= slowest(truth, optimal_shares(truth, 128)) * (
        1 + 2 * DEAD_BAND
    )
    assert job.changes <= 5


@pytest.mark.parametrize(("world", "noise"), [(2, 0.1), (2, 0.3), (8, 0.1), (8, 0.3)])
def test_noise_changes_nothing(world, noise):
    job = Job([Speed(0.05, 0.01)] * world, 64 * world, noise=noise)
    assert job.run([Speed(0.05, 0.01)] * world, 250) == [64] * world
    assert job.changes == 0


@pytest.mark.parametrize(("slower", "changes"), [(1.06, 0), (1.15, 1)])
def test_a_small_difference_changes_nothing(slower, changes):
    speeds = [Speed(0, 0.01), Speed(0, 0.01 * slower)]
    job = Job(speeds, 128, shares=[64, 64])
    job.run(speeds, 2 * WINDOW_STEPS)
    assert job.changes == changes


@pytest.mark.parametrize("steps_before", [0, 2, 5, WINDOW_STEPS])
def test_a_single_delay_changes_nothing(steps_before):
    speeds = [Speed(0, 0.01)] * 2
    job = Job(speeds, 64, noise=0.02)
    job.run(speeds, steps_before)
    job.run(speeds, WINDOW_STEPS, factors=(1, 10))
    assert job.changes == 0


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize(("world", "unit"), [(2, 1), (2, 4), (4, 1)])
@pytest.mark.parametrize("factor", [2, 4])
def test_shares_follow_a_device_that_slows_down_and_recovers(factor, world, unit, noise):
    well, batch = [Speed(0.02, 0.01)] * world, 32 * world
    ill = [*well[:-1], Speed(0.02 * factor, 0.01 * factor)]
    job = Job(well, batch, unit, noise)
    assert job.run(well, 100)[-1] == 32
    best = optimal_shares(ill, batch, unit)[-1]
    assert best <= job.run(ill, 50)[-1] + unit <= 1.25 * best + 2 * unit
    assert job.run(well, 50)[-1] >= 28
    assert job.changes <= 8


def test_memory_limits_the_share_of_a_faster_device():
    speeds = [Speed(0, 0.01, 40), Speed(0, 0.04)]
    assert Job(speeds, 64).run(speeds, 100) == [40, 24]


def test_a_rank_without_samples_is_tested_again():
    well = [Speed(0.05, 0.01)] * 2
    ill = [well[0], Speed(0.2, 0.04)]
    job = Job(well, 16, noise=0.02)
    assert job.run(ill, 50) == [16, 0]
    assert min(job.run(well, 400)) >= 7


@pytest.mark.parametrize(
    ("slope", "trials"),
    [(0.24, range(4, 7)), (0.48, range(1, 3)), (160.0, range(1))],
)
def test_tests_of_a_slow_rank_cost_little(slope, trials):
    speeds = [Speed(0, 0.01), Speed(0, slope)]
    job = Job(speeds, 16, shares=[16, 0])
    job.run(speeds, 1500)
    assert job.seconds <= 1500 * 0.16 * 1.01
    assert job.changes // 2 in trials


def test_a_test_returns_the_only_unit_of_a_batch():
    speeds = [Speed(0, 0.01), Speed(0, 0.015)]
    job = Job(speeds, 4, unit=4, shares=[4, 0])
    job.run(speeds, 400)
    assert job.changes >= 2
    assert job.seconds <= 400 * 0.04 * 1.02


def test_a_rank_without_memory_for_a_unit_is_never_tested():
    speeds = [Speed(0, 0.01), Speed(0, 0.01, 3)]
    assert Job(speeds, 16, unit=4, shares=[16, 0]).run(speeds, 200) == [16, 0]


# What came of it.


def test_waiting_reduces_the_efficiency():
    assert ideal_throughput([8, 4, 0], [2.0, 2.0, 0.0]) == 6
    assert efficiency([8, 4], [2.0, 2.0], 2.0) == 1
    assert efficiency([8, 8], [1.0, 4.0], 4.0) == pytest.approx(16 / 4 / (8 + 2))
