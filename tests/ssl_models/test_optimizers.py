import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_models.config import TextEncoder, Train
from ssl_models.encoders import build_encoder
from ssl_models.optimizers import build_optimizers, schedule, set_learning_rate

trains = st.builds(
    lambda steps, warm, share, decay: Train(steps=steps, warmup_steps=warm, decay_share=share, decay=decay),
    st.integers(1, 200),
    st.integers(0, 50),
    st.floats(0, 1),
    st.sampled_from(["linear", "cosine", "sqrt"]),
)


@given(trains)
def test_the_schedule_rises_stays_and_falls(config):
    factors = [schedule(step, config) for step in range(1, config.steps + 1)]
    assert all(0 < factor <= 1 for factor in factors)
    warm = min(config.warmup_steps, config.steps)
    assert factors[:warm] == [step / warm for step in range(1, warm + 1)]
    after = factors[max(0, warm - 1) :]
    assert all(a >= b for a, b in zip(after, after[1:], strict=False))
    begin = max(warm, config.steps - round(config.decay_share * config.steps))
    assert all(factor == 1 for factor in factors[warm:begin])
    if begin < config.steps:
        assert factors[-1] < 1
    else:
        assert factors[-1] == 1


def model():
    return build_encoder(
        TextEncoder(layers=2, width=16, heads=2, neighbour_heads=True),
        vocabulary=40,
        special={"pad": 0, "cls": 2, "sep": 3},
        seed=0,
    )


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_parameter_has_one_optimizer_and_only_layer_matrices_decay(optimizer):
    net = model()
    config = Train(optimizer=optimizer, weight_decay=0.1, embedding_learning_rate=3e-3)
    optimizers = build_optimizers(net, config)
    names = {id(p): n for n, p in net.named_parameters()}
    groups = [group for each in optimizers for group in each.param_groups]
    held = [names[id(p)] for group in groups for p in group["params"]]
    assert sorted(held) == sorted(names.values())
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            matrix = parameter.ndim == 2 and "embed" not in name and "decoder" not in name
            assert group["weight_decay"] == (0.1 if matrix else 0.0), name
            assert group["peak"] == (config.peak_learning_rate if matrix else 3e-3), name
    if optimizer == "muon":
        assert all(p.ndim == 2 for group in optimizers[0].param_groups for p in group["params"])
    set_learning_rate(optimizers, 0.5)
    assert all(group["lr"] == group["peak"] / 2 for group in groups)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_both_optimizers_lower_a_loss(optimizer):
    net = model().train()
    optimizers = build_optimizers(net, Train(optimizer=optimizer, learning_rate=1e-2))
    ids = torch.randint(5, 40, (4, 12), generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(15):
        loss = net(ids, labels=ids).loss
        loss.backward()
        for each in optimizers:
            each.step()
            each.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
