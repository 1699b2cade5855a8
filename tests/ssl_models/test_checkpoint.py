import json

import pytest
import torch
from torch import nn

from ssl_models.checkpoint import load_checkpoint, newest_checkpoint, publish, save_checkpoint, write_whole


class Tied(nn.Module):
    def __init__(self, seed, width=6):
        super().__init__()
        torch.manual_seed(seed)
        self.table, self.out = nn.Embedding(9, width), nn.Linear(width, 9)
        self.out.weight = self.table.weight
        self.register_buffer("count", torch.tensor(float(seed)))

    def forward(self, ids):
        return self.out(self.table(ids))


def make(seed, width=6):
    model = Tied(seed, width)
    return model, [
        torch.optim.Muon([nn.Parameter(torch.randn(3, 3))], lr=0.1),
        torch.optim.AdamW(model.parameters(), lr=0.1),
    ]


def take_steps(model, optimizers, count=3):
    for number in range(count):
        loss = model(torch.arange(9)).square().mean()
        loss.backward()
        muon = optimizers[0].param_groups[0]["params"][0]
        muon.grad = torch.full((3, 3), float(number)) + torch.eye(3)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def state_of(model, optimizers):
    tensors = [*model.state_dict().values()]
    for optimizer in optimizers:
        for fields in optimizer.state_dict()["state"].values():
            tensors += [fields[name] for name in sorted(fields)]
    return [tensor.clone() for tensor in tensors]


def test_a_loaded_checkpoint_goes_on_bit_for_bit(tmp_path):
    model, optimizers = make(0)
    take_steps(model, optimizers)
    save_checkpoint(tmp_path, 3, model, optimizers, {"note": [1, 2]}, keep=2)
    path, state = newest_checkpoint(tmp_path)
    assert path.name == "step-00000003"
    assert state["step"] == 3
    assert state["note"] == [1, 2]
    fresh, others = make(1)
    load_checkpoint(path, fresh, others)
    assert fresh.out.weight is fresh.table.weight
    for a, b in zip(state_of(model, optimizers), state_of(fresh, others), strict=True):
        assert torch.equal(a, b)
    others[0].param_groups[0]["params"][0].data.copy_(optimizers[0].param_groups[0]["params"][0])
    take_steps(model, optimizers)
    take_steps(fresh, others)
    for a, b in zip(state_of(model, optimizers), state_of(fresh, others), strict=True):
        assert torch.equal(a, b)


def test_the_newest_whole_one_counts_and_old_ones_go(tmp_path):
    assert newest_checkpoint(tmp_path / "none") is None
    model, optimizers = make(0)
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, step, model, optimizers, {}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]
    weights = tmp_path / "step-00000100" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert newest_checkpoint(tmp_path)[1]["step"] == 10
    (tmp_path / "step-00000010" / "state.json").write_text("{")
    assert newest_checkpoint(tmp_path) is None


def test_half_a_checkpoint_is_none(tmp_path):
    model, optimizers = make(0)
    save_checkpoint(tmp_path, 1, model, optimizers, {}, keep=2)
    torn = tmp_path / ".step-00000002.tmp"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    assert newest_checkpoint(tmp_path)[1]["step"] == 1
    save_checkpoint(tmp_path, 2, model, optimizers, {}, keep=2)
    assert newest_checkpoint(tmp_path)[1]["step"] == 2
    assert not torn.exists()


def test_another_models_checkpoint_is_refused(tmp_path):
    save_checkpoint(tmp_path, 1, *make(0), {}, keep=1)
    with pytest.raises(ValueError, match="of another model"):
        load_checkpoint(tmp_path / "step-00000001", *make(0, width=5))


def test_files_and_folders_are_replaced_whole(tmp_path):
    write_whole(tmp_path / "a.json", json.dumps({"x": 1}))
    write_whole(tmp_path / "a.json", b"{}")
    assert (tmp_path / "a.json").read_text() == "{}"
    for content in ("one", "two"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / content).write_text(content)
        publish(tmp_path / "new", tmp_path / "final")
    assert [p.name for p in (tmp_path / "final").iterdir()] == ["two"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "final"]
