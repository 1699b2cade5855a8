import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_models.losses import cross_entropy, entropy, kl_divergence, masked_cross_entropy


def naive_cross_entropy(logits, targets):
    """-log softmax, one number at a time, in Python's floats."""
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        top = max(row)
        total += math.log(sum(math.exp(x - top) for x in row)) + top - row[target]
    return total / len(targets)


@pytest.mark.parametrize("case", range(20))
def test_masked_cross_entropy_is_the_naive_one_to_1e_10(case):
    g = torch.Generator().manual_seed(case)
    n, v = 1 + case * 3 % 17, 2 + case
    scale = [1.0, 100.0, 1e-3][case % 3]
    logits = (torch.randn(n, v, generator=g, dtype=torch.float64) * scale).requires_grad_()
    targets = torch.randint(v, (n,), generator=g)
    loss = masked_cross_entropy(logits, targets)
    assert loss.item() == pytest.approx(naive_cross_entropy(logits, targets), rel=1e-10, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = (torch.softmax(logits, 1) - torch.nn.functional.one_hot(targets, v)) / n
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-14)


def test_nothing_masked_is_zero_with_zero_gradient():
    weight = torch.randn(4, 7, requires_grad=True)
    loss = masked_cross_entropy(torch.zeros(0, 4) @ weight, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(weight.grad, torch.zeros(4, 7))


def test_half_precision_logits_are_summed_in_float32():
    logits = torch.randn(64, 500, generator=torch.Generator().manual_seed(0)).bfloat16()
    targets = torch.arange(64)
    assert masked_cross_entropy(logits, targets).dtype == torch.float32
    assert masked_cross_entropy(logits, targets).item() == pytest.approx(
        naive_cross_entropy(logits.double(), targets), rel=1e-5
    )


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(3, 4), torch.zeros(3, 1, dtype=torch.long)),
        (torch.zeros(3, 4), torch.tensor([0, 4, 1])),
        (torch.zeros(3, 4), torch.tensor([0, -100, 1])),
    ],
)
def test_bad_shapes_and_targets_are_refused(logits, targets):
    with pytest.raises(ValueError, match=r"expected logits|targets must be"):
        masked_cross_entropy(logits, targets)


distributions = st.integers(1, 6).flatmap(
    lambda size: st.tuples(*[st.lists(st.integers(0, 5), min_size=size, max_size=size).filter(any) for _ in range(2)])
)


@settings(deadline=None)
@given(distributions)
def test_measures_agree_with_scipy_and_with_each_other(pair):
    from scipy.stats import entropy as oracle

    p, q = (torch.tensor(counts, dtype=torch.float64) / sum(counts) for counts in pair)
    assert entropy(p).item() == pytest.approx(oracle(p.numpy()), abs=1e-12)
    divergence = kl_divergence(p, q).item()
    assert divergence == pytest.approx(oracle(p.numpy(), q.numpy()), abs=1e-12)
    assert divergence >= -1e-12
    if math.isfinite(divergence):
        assert cross_entropy(p, q).item() == pytest.approx(entropy(p).item() + divergence, abs=1e-12)
    else:
        assert cross_entropy(p, q).item() == math.inf
    assert kl_divergence(p, p).item() == pytest.approx(0, abs=1e-12)


def test_measures_are_means_over_leading_axes():
    p = torch.tensor(np.random.default_rng(0).dirichlet(np.ones(5), (3, 2)))
    q = torch.full_like(p, 0.2)
    assert cross_entropy(p, q).item() == pytest.approx(math.log(5))
    assert entropy(p).item() == pytest.approx(np.mean([[entropy(row).item() for row in rows] for rows in p]))


@pytest.mark.parametrize(
    "bad", [torch.tensor([0.5, 0.6]), torch.tensor([1.5, -0.5]), torch.tensor([1, 0]), torch.tensor(1.0)]
)
def test_what_is_no_distribution_is_refused(bad):
    with pytest.raises(ValueError, match=r"distribution|distributions"):
        entropy(bad)
    with pytest.raises(ValueError, match="of one shape"):
        kl_divergence(torch.tensor([1.0]), torch.tensor([0.5, 0.5]))
