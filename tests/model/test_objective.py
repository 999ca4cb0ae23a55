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
    assert objective.effective_names(equal.concentration.item(), n) == pytest.approx(n)
    single = torch.full((n,), -2000.0, dtype=torch.float64)
    single[0] = 0.0
    alone = objective.terms(single, torch.zeros(n), entropy="diversify", eta=0.01)
    assert alone.concentration.item() == pytest.approx(np.log(n), abs=1e-15)
    assert objective.effective_names(alone.concentration.item(), n) == pytest.approx(1)


def test_concentration_is_log_n_less_the_entropy() -> None:
    weights = objective.weights(SCORES)
    entropy = -(weights * weights.log()).sum()
    assert torch.allclose(objective.relative_entropy(weights.log()), np.log(4) - entropy, rtol=1e-14)


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
