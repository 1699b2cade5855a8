import math

import pytest
import torch
from torch import nn

from ssl_models.health import NonFinite, gradient_norm, require_finite


def test_gradients_are_scaled_to_the_maximum_and_the_norm_is_from_before():
    model = nn.Linear(3, 1, bias=False)
    model.weight.grad = torch.tensor([[2.0, 3.0, 6.0]])
    assert gradient_norm(model, 3.5) == pytest.approx(7.0)
    assert torch.allclose(model.weight.grad, torch.tensor([[1.0, 1.5, 3.0]]))
    assert gradient_norm(model, None) == pytest.approx(3.5)
    assert torch.allclose(model.weight.grad, torch.tensor([[1.0, 1.5, 3.0]]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_named(bad):
    require_finite(3, loss=1.0, gradient_norm=2.0)
    with pytest.raises(NonFinite, match="step 3: gradient norm is"):
        require_finite(3, loss=1.0, gradient_norm=bad)


def test_a_norm_over_a_nan_is_no_number():
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[1.0, math.nan]])
    assert math.isnan(gradient_norm(model, 1.0))
