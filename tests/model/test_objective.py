"""The loss as mathematics."""

import numpy as np
import pytest
import torch

from model import objective

RETURNS = torch.tensor([0.05, -0.02, float("nan"), 0.01], dtype=torch.float64)
SCORES = torch.tensor([0.3, -1.0, 2.0, 0.1], dtype=torch.float64)


@pytest.mark.parametrize("n", [1, 2, 3, 97, 100, 500])
def test_concentration_is_0_at_equal_weights_and_log_n_on_a_single_stock(n: int) -> None:
    equal = objective.terms(torch.full((n,), 3.7, dtype=torch.float64), torch.zeros(n), entropy="diversify", eta=0.01)
    assert abs(equal.concentration.item()) < 1e-15 * n
    assert objective.effective_names(torch.full((n,), 3.7)) == pytest.approx(n)
    single = torch.full((n,), -2000.0, dtype=torch.float64)
    single[0] = 0.0
    alone = objective.terms(single, torch.zeros(n), entropy="diversify", eta=0.01)
    assert alone.concentration.item() == pytest.approx(np.log(n), abs=1e-15)
    assert objective.effective_names(single) == pytest.approx(1)


def test_concentration_is_log_n_less_the_entropy() -> None:
    weights = objective.weights(SCORES)
    entropy = -(weights * weights.log()).sum()
    concentration = objective.relative_entropy(weights.log(), objective.log_shares(torch.ones(4)))
    assert torch.allclose(concentration, np.log(4) - entropy, rtol=1e-14)


@pytest.mark.parametrize("entropy", ["diversify", "as_printed", "off"])
def test_gradient_agrees_with_finite_differences(entropy: str) -> None:
    def loss(scores: torch.Tensor) -> torch.Tensor:
        return objective.terms(scores, RETURNS, entropy=entropy, eta=0.7).loss

    assert torch.autograd.gradcheck(loss, SCORES.clone().requires_grad_(), eps=1e-6, atol=1e-9)


def test_as_printed_has_the_gradient_of_the_printed_formula() -> None:
    ours, printed = SCORES.clone().requires_grad_(), SCORES.clone().requires_grad_()
    objective.terms(ours, RETURNS, entropy="as_printed", eta=0.01).loss.backward()
    weights = torch.softmax(printed, 0)
    (-(weights * RETURNS.nan_to_num()).sum() + 0.01 * -(weights * (weights + 1e-12).log()).sum()).backward()
    torch.testing.assert_close(ours.grad, printed.grad, rtol=1e-9, atol=0)


def test_the_settings_flip_and_remove_only_the_concentration() -> None:
    terms = {e: objective.terms(SCORES, RETURNS, entropy=e, eta=0.5) for e in objective.CONCENTRATION_SIGN}
    reward, concentration = terms["off"].reward, terms["off"].concentration
    assert terms["off"].loss == -reward
    assert terms["diversify"].loss == -reward + 0.5 * concentration
    assert terms["as_printed"].loss == -reward - 0.5 * concentration


def test_a_missing_return_drops_out_and_the_other_weights_are_not_rescaled() -> None:
    weights = objective.weights(SCORES)
    reward = objective.terms(SCORES, RETURNS, entropy="off", eta=0.0).reward
    assert reward == pytest.approx((weights[0] * 0.05 - weights[1] * 0.02 + weights[3] * 0.01).item(), rel=1e-14)


def test_the_loss_does_not_depend_on_the_order_of_the_stocks() -> None:
    order = torch.tensor([2, 0, 3, 1])
    one = objective.terms(SCORES, RETURNS, entropy="diversify", eta=0.5).loss
    other = objective.terms(SCORES[order], RETURNS[order], entropy="diversify", eta=0.5).loss
    assert one == pytest.approx(other.item(), rel=1e-14)


def test_loss_and_gradient_are_finite_where_weights_vanish() -> None:
    scores = torch.tensor([0.0, -1e4, 1e4], dtype=torch.float64, requires_grad=True)
    loss = objective.terms(scores, torch.tensor([0.1, 0.2, 0.3]), entropy="diversify", eta=1.0).loss
    loss.backward()
    assert loss.isfinite()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


# --- prior, variance, turnover, other rewards

PRIOR = torch.tensor([0.1, 0.5, 0.3, 0.1], dtype=torch.float64)
DRIFTED = torch.tensor([0.2, 0.0, 0.5, 0.1], dtype=torch.float64)  # the rest, 0.2, is in stocks that are gone
ROOT = torch.tensor(np.random.default_rng(0).normal(0, 0.05, (4, 6)))
COVARIANCE = ROOT @ ROOT.T
EVERYTHING = {
    "prior": PRIOR,
    "moments": (0.01, 0.002),
    "covariance": COVARIANCE,
    "variance_aversion": 3.0,
    "drifted": DRIFTED,
    "turnover_cost": 0.1,
}


def test_without_scores_the_weights_are_the_prior() -> None:
    assert torch.allclose(objective.weights(torch.zeros(4, dtype=torch.float64), 7 * PRIOR), PRIOR, rtol=1e-15)


@pytest.mark.parametrize("n", [2, 49, 97, 100])
def test_an_equal_prior_changes_no_bit(n: int) -> None:
    scores = torch.tensor(np.random.default_rng(n).normal(size=n))
    equal = torch.full((n,), 1 / n, dtype=torch.float64)
    assert torch.equal(objective.weights(scores, equal), torch.log_softmax(scores, 0).exp())
    returns = torch.tensor(np.random.default_rng(1).normal(size=n))
    plain = objective.terms(scores, returns, entropy="diversify", eta=0.5)
    assert objective.terms(scores, returns, entropy="diversify", eta=0.5, prior=equal) == plain


def test_concentration_is_the_relative_entropy_to_the_prior() -> None:
    logits = SCORES + PRIOR.log()
    held = objective.weights(SCORES, PRIOR)
    found = objective.terms(logits, RETURNS, entropy="diversify", eta=0.5, prior=3 * PRIOR)
    assert found.concentration == pytest.approx((held * (held / PRIOR).log()).sum().item(), rel=1e-13)
    at_prior = objective.terms(PRIOR.log(), RETURNS, entropy="diversify", eta=0.5, prior=PRIOR)
    assert abs(at_prior.concentration.item()) < 1e-15


@pytest.mark.parametrize("reward", ["simple", "log", "sharpe"])
def test_gradient_of_all_terms_together_agrees_with_finite_differences(reward: str) -> None:
    def loss(logits: torch.Tensor) -> torch.Tensor:
        return objective.terms(logits, RETURNS, entropy="diversify", eta=0.7, reward=reward, **EVERYTHING).loss

    assert torch.autograd.gradcheck(loss, SCORES.clone().requires_grad_(), eps=1e-6, atol=1e-8)


def test_the_loss_is_the_sum_of_its_terms() -> None:
    w = torch.softmax(SCORES, 0).numpy()
    found = objective.terms(SCORES, RETURNS, entropy="diversify", eta=0.7, **EVERYTHING)
    variance = w @ COVARIANCE.numpy() @ w
    turnover = (np.abs(w - DRIFTED.numpy()).sum() + 0.2) / 2  # what was held in stocks that are gone is sold
    assert found.variance == pytest.approx(variance, rel=1e-13)
    assert found.turnover == pytest.approx(turnover, rel=1e-13)
    reward = w @ np.nan_to_num(RETURNS.numpy())
    concentration = (w * np.log(w / PRIOR.numpy())).sum()
    assert found.loss == pytest.approx(-reward + 0.7 * concentration + 3 * variance + 0.1 * turnover, rel=1e-13)


def test_turnover_from_cash_is_1_and_0_where_nothing_has_to_be_traded() -> None:
    options = {"entropy": "off", "eta": 0.0, "turnover_cost": 1.0}
    from_cash = objective.terms(SCORES, RETURNS, drifted=torch.zeros(4), **options)
    assert from_cash.turnover == pytest.approx(1, rel=1e-15)
    kept = objective.terms(SCORES, RETURNS, drifted=torch.softmax(SCORES, 0), **options)
    assert abs(kept.turnover.item()) < 1e-15


def test_log_reward_is_the_growth_of_wealth() -> None:
    found = objective.terms(SCORES, RETURNS, entropy="off", eta=0.0, reward="log")
    assert found.loss == pytest.approx(-np.log(1 + found.reward.item()), rel=1e-13)


def test_the_differential_sharpe_ratio_is_the_sharpe_ratios_slope_in_the_newest_months_weight() -> None:
    (mean, square), reward = (0.012, 0.0021), 0.03

    def sharpe(rate: float) -> float:
        a, b = mean + rate * (reward - mean), square + rate * (reward**2 - square)
        return a / np.sqrt(b - a**2)

    slope = (sharpe(1e-6) - sharpe(-1e-6)) / 2e-6
    assert objective.differential_sharpe(torch.tensor(reward), (mean, square)) == pytest.approx(slope, rel=1e-6)


def test_the_first_sharpe_reward_is_the_return_over_a_usual_months_volatility() -> None:
    found = objective.terms(SCORES, RETURNS, entropy="off", eta=0.0, reward="sharpe")
    assert found.loss == pytest.approx(-found.reward.item() / 0.04, rel=1e-12)


def test_the_sharpe_ratios_moments_become_those_of_the_rewards() -> None:
    rewards = np.random.default_rng(3).normal(0.01, 0.05, 5000)
    moments = objective.INITIAL_MOMENTS
    for reward in rewards:
        moments = objective.moments_after(reward, moments)
        assert moments[1] > moments[0] ** 2
    recent = 0.97 ** np.arange(len(rewards))[::-1] * 0.03
    assert moments == pytest.approx((recent @ rewards, recent @ rewards**2), rel=1e-9)
