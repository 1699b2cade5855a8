"""The edges: what is refused, what is 0, and what must not be NaN."""

import math

import pytest
import torch

from ssl_models import losses

Z = torch.zeros


def hot(seed=0, shape=(8, 16)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: losses.next_token_cross_entropy(Z(2, 3), Z(2, 3).long()), "expected logits"),
        (lambda: losses.next_token_cross_entropy(Z(2, 3, 4), Z(2, 4).long()), "expected logits"),
        (lambda: losses.next_token_cross_entropy(Z(2, 3, 4), Z(2, 3).long(), Z(2, 2).long()), "expected documents"),
        (lambda: losses.nt_xent(Z(3, 4), Z(4, 4), 0.1), "of one shape"),
        (lambda: losses.nt_xent(Z(3), Z(3), 0.1), "of one shape"),
        (lambda: losses.nt_xent(Z(3, 4).long(), Z(3, 4).long(), 0.1), "floating"),
        (lambda: losses.nt_xent(Z(3, 4), Z(3, 4), 0.0), "temperature must be above 0"),
        (lambda: losses.nt_xent(Z(3, 4), Z(3, 4), math.nan), "temperature must be above 0"),
        (lambda: losses.info_nce(Z(3, 4), Z(3, 4), Z(2, 5), 0.1), "expected negatives"),
        (lambda: losses.triplet(Z(3, 4), Z(3, 4), Z(2, 4), 0.1), "of one shape"),
        (lambda: losses.triplet(Z(3, 4), Z(3, 4), Z(3, 4), -0.1), "margin"),
        (lambda: losses.byol(Z(3, 4), Z(3, 5)), "of one shape"),
        (lambda: losses.clip(Z(3, 4), Z(2, 4), 10.0), "of one shape"),
        (lambda: losses.clip(Z(3, 4), Z(3, 4), Z(3)), "one number"),
        (lambda: losses.clip(Z(3, 4), Z(3, 4), -1.0), "above 0"),
        (lambda: losses.siglip(Z(3, 4), Z(3, 4), 10.0, Z(3)), "one number"),
        (lambda: losses.vicreg(Z(1, 4), Z(1, 4)), "two samples"),
        (lambda: losses.dino(Z(2, 3, 4), Z(1, 3, 5), Z(4)), "expected student"),
        (lambda: losses.dino(Z(2, 3, 4), Z(3, 3, 4), Z(4)), "T <= S"),
        (lambda: losses.dino(Z(1, 3, 4), Z(1, 3, 4), Z(4)), "S >= 2"),
        (lambda: losses.dino_centre(Z(4), Z(2, 3, 5)), "expected teacher"),
        (lambda: losses.sigreg(Z(3, 4), Z(3, 4)), r"expected \[B, D\]"),
        (lambda: losses.lejepa(Z(2, 3, 4), Z(4, 2), 3), "global_views"),
        (lambda: losses.lejepa(Z(2, 3, 4), Z(4, 2), weight=2), "weight"),
        (lambda: losses.mae(Z(2, 3, 4), Z(2, 3, 4), Z(2, 4)), "expected pred"),
        (lambda: losses.mae(Z(2, 3, 1), Z(2, 3, 1), Z(2, 3)), "no variance"),
        (lambda: losses.mae(Z(2, 3, 4), Z(2, 3, 4), Z(2, 3) + 0.5), "0 and 1"),
        (lambda: losses.wav2vec2(Z(2, 4), Z(2, 4), Z(2, 3, 5), Z(2, 1, 3), Z(1)), "expected distractors"),
        (lambda: losses.wav2vec2(Z(2, 4), Z(2, 4), Z(2, 3, 4), Z(3, 1, 3), Z(1)), "expected probabilities"),
    ],
)
def test_bad_shapes_and_settings_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: losses.next_token_cross_entropy(x[:, None], Z(8, 1).long()),  # rows of one token
        lambda x: losses.next_token_cross_entropy(x[None], Z(1, 8).long(), -torch.ones(1, 8).long()),  # all padding
        lambda x: losses.next_token_cross_entropy(x[None], Z(1, 8).long(), torch.arange(8)[None]),  # documents of one
        lambda x: losses.nt_xent(x[:0], x[:0], 0.1),
        lambda x: losses.nt_xent(x[:1], x[1:2], 0.01),  # one pair: the other view is the only candidate
        lambda x: losses.info_nce(x, x + 1, x[:0], 0.01),  # no negative
        lambda x: losses.triplet(x, x, -x, 0.5),  # further apart than the margin asks
        lambda x: losses.clip(x[:1], x[1:2], 100.0),
        lambda x: losses.byol(x[:0], x[:0]),
        lambda x: losses.mae(x[None], x[None], Z(1, 8)),  # nothing hidden
        lambda x: losses.wav2vec2(x[:0], x[:0], Z(0, 5, 16), Z(0, 2, 3), x)[0],  # nothing masked
        lambda x: losses.wav2vec2(x[:1], x[1:2], x[1:2, None].detach(), torch.ones(1, 1, 2) / 2, x)[0],  # one masked
    ],
)
def test_nothing_to_predict_is_zero_with_zero_gradient(loss):
    x = hot()
    value = loss(x)
    value.backward()
    assert abs(value.item()) < 1e-6
    assert x.grad is not None
    assert x.grad.abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_temperature_of_a_hundredth_is_finite_and_right_in_every_type(dtype):
    """exp(1 / 0.01) is no float32: a loss that takes exponentials first is NaN here."""
    x, y = (hot(seed).detach().to(dtype) for seed in (1, 2))
    exact = losses.nt_xent(x.double(), y.double(), 0.01)
    assert exact > 10
    assert losses.nt_xent(x, y, 0.01).item() == pytest.approx(exact.item(), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert losses.nt_xent(x, y, 0.01).item() == pytest.approx(exact.item(), rel=1e-5)
        clipped = losses.clip(x, y, 100.0)
    assert clipped.item() == pytest.approx(losses.clip(x.double(), y.double(), 100.0).item(), rel=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30, 0.0])
def test_cosines_are_sound_at_any_scale(scale):
    """Squares of these under- or overflow; of a zero row the cosine is taken as 0."""
    x, y = hot(3).detach(), hot(4)
    z = (x * scale).requires_grad_()
    value = losses.nt_xent(z, y, 0.1)
    value.backward()
    assert torch.isfinite(z.grad).all()
    assert torch.isfinite(y.grad).all()
    if scale:
        assert value.item() == pytest.approx(losses.nt_xent(x, y, 0.1).item(), rel=1e-5)


def test_a_collapsed_batch_has_the_known_values():
    """All embeddings alike: ln(2B - 1) for NT-Xent, ln B for CLIP, and BYOL's best value: it cannot see collapse."""
    x = torch.ones(8, 4)
    assert losses.nt_xent(x, x, 0.1).item() == pytest.approx(math.log(15), rel=1e-6)
    assert losses.clip(x, x, 14.0).item() == pytest.approx(math.log(8), rel=1e-6)
    assert losses.byol(x, x).item() == pytest.approx(0, abs=1e-6)
    assert losses.vicreg(x, x).item() == pytest.approx(25 * (1 - 0.01), rel=1e-5)
    d = torch.eye(4)
    assert losses.sigreg(torch.zeros(500, 4), d) > 20 * losses.sigreg(hot(5, (500, 4)), d)


def test_no_gradient_flows_into_teachers():
    online, target = hot(6), hot(7)
    losses.byol(online, target).backward()
    assert target.grad is None
    student, teacher, centre = hot(8, (2, 3, 4)), hot(9, (2, 3, 4)), Z(4, requires_grad=True)
    losses.dino(student, teacher, centre).backward()
    assert teacher.grad is None
    assert centre.grad is None
    assert student.grad.abs().sum() > 0


def test_the_centre_is_the_exponential_mean_of_whole_batches():
    teacher = hot(10, (2, 6, 4))
    centre = losses.dino_centre(torch.ones(4), teacher, 0.9)
    assert torch.allclose(centre, 0.9 + 0.1 * teacher.detach().reshape(12, 4).mean(0))
    assert not centre.requires_grad


def test_diversity_runs_from_every_entry_alike_to_one():
    x = Z(6, 4)
    alike, one = torch.full((6, 2, 5), 0.2), Z(6, 2, 5)
    one[..., 0] = 1
    call = lambda p: losses.wav2vec2(x + 1, x + 1, Z(6, 0, 4), p, x)[1].item()  # noqa: E731
    assert call(alike) == pytest.approx(0, abs=1e-6)
    assert call(one) == pytest.approx(1 - 1 / 5)
