"""A batch in parts is the batch: two processes, and four micro-batches, for every method; and what is refused."""

import dataclasses

import pytest
import torch
from small_images import SMALL, VIT, image_spec
from small_runs import small_spec
from torch import nn

from benchmarks.ranks import NAMES, measure
from benchmarks.towers import TOWERS, Rows
from ssl_models import trainer
from ssl_models.accumulate import backward, require_divisible
from ssl_models.config import CausalLanguageModelling, Train
from ssl_models.image_config import BYOL, MAE, SimCLR
from ssl_models.objectives import build_image_method
from ssl_models.ranks import Ranks


@pytest.fixture(autouse=True)
def _as_before():
    strict, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(strict)
    torch.set_num_threads(threads)


def test_a_batch_in_parts_is_the_batch(tmp_path):
    """Five steps: parameters, teachers, centres, BatchNorm statistics, codebook temperature, the optimizer's moments.

    In float64, where an error of the method stands out from rounding; `python -m benchmarks.ranks` prints the table.
    """
    found = measure(tmp_path, single=False)
    assert set(found) == {*NAMES, *(f"{name}, towers" for name in TOWERS)}
    for name, row in found.items():
        assert set(row) == ({"ranks"} if "BatchNorm" in name else {"ranks", "micro"}), name
        assert max(row.values()) < 1e-6, (name, row)


def test_parts_of_a_text_view_are_views_of_parts(tmp_path):
    """Masks, targets and positions of some rows, cut from the whole, give the losses of these rows."""
    from ssl_models.image_run import open_run

    for objective, encoder in ((None, {}), (CausalLanguageModelling(), {"architecture": "gpt2"})):
        folder = tmp_path / ("clm" if objective else "mlm")
        folder.mkdir()
        run = open_run(small_spec(folder, objective=objective, encoder=encoder, batch=8))
        model, view = run.build_model(), run.objective.view(next(run.packer))
        parts = [view.rows(begin, begin + 2) for begin in range(0, 8, 2)]
        assert [len(part) for part in parts] == [2] * 4
        terms = [run.objective.terms(part) for part in parts]
        assert sum(terms) == run.objective.terms(view)
        assert len(set(terms)) > 1
        with torch.no_grad():
            losses = [float(run.objective.loss(model, part)) for part in parts]
            whole = float(run.objective.loss(model, view))
        assert sum(n * x for n, x in zip(terms, losses, strict=True)) / sum(terms) == pytest.approx(whole, rel=1e-5)
        assert sum(losses) / 4 != pytest.approx(whole, rel=1e-5)  # the mean of means is another number


def test_a_part_without_a_term_adds_nothing():
    """No masked token in a micro-batch, or in any."""

    class Mean:
        def terms(self, view):
            return int((view.x > 0).sum())

        def loss(self, model, view):
            chosen = view.x[view.x > 0]
            return model(chosen[:, None]).square().mean() if len(chosen) else model.weight.sum() * 0

    model = nn.Linear(1, 1, bias=False)
    for x in (torch.tensor([-1.0, -1.0, 2.0, 3.0]), -torch.ones(4)):
        view, grads = Rows(x, torch.arange(4)), []
        for micro_batch in (None, 2):
            model.zero_grad()
            loss = backward(Mean(), model, view, micro_batch=micro_batch)
            grads.append((loss, float(model.weight.grad)))
        assert grads[0] == pytest.approx(grads[1])


def test_what_cannot_be_cut_is_refused(tmp_path):
    for objective in (SimCLR(hidden=32, projection=16), BYOL(hidden=32, projection=16)):
        spec = image_spec(tmp_path, objective, micro_batch=8)
        with pytest.raises(ValueError, match=r"micro_batch: the encoder's BatchNorm bn1 takes its statistics from"):
            trainer.run_spec(spec)
    method = build_image_method(SimCLR(hidden=32, projection=16), SMALL, 0, 1)
    require_divisible(method, method.build(), None, 2)  # ranks share the statistics
    dropping = dataclasses.replace(SMALL, options={**SMALL.options, "drop_path_rate": 0.1})
    dropping = build_image_method(SimCLR(), dropping, 0, 1)
    with pytest.raises(ValueError, match=r"train\.ranks: the dropout .* is drawn for a whole batch"):
        require_divisible(dropping, dropping.build(), None, 2)
    (tmp_path / "text").mkdir()
    spec = small_spec(tmp_path / "text", encoder={"dropout": 0.1}, micro_batch=2)
    with pytest.raises(ValueError, match=r"train\.micro_batch: the dropout .* is drawn for a whole batch"):
        trainer.run_spec(spec)


def test_an_objective_that_does_not_say_how_is_refused():
    class Whole:
        def loss(self, model, view):
            return model(view.x).std()

    with pytest.raises(ValueError, match="Whole cannot be computed in parts"):
        require_divisible(Whole(), nn.Linear(2, 2), 4, 1)
    require_divisible(Whole(), nn.Linear(2, 2), None, 1)


@pytest.mark.parametrize(("settings", "said"), [
    ({"batch": 30, "ranks": 4}, "batch 30 cannot be divided among 4 ranks"),
    ({"batch": 32, "ranks": 2, "micro_batch": 3}, "16 rows a rank are no multiple of micro_batch 3"),
])  # fmt: skip
def test_slices_are_equal_or_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Train(**settings)
    with pytest.raises(ValueError, match="cannot be divided among 4 ranks"):
        Ranks(0, 4).slice(30)


def test_the_number_of_ranks_is_no_part_of_a_runs_identity(tmp_path):
    """A run may go on with more or fewer; the digest of one that says neither is what it was."""
    spec = image_spec(tmp_path, MAE(), VIT)
    assert image_spec(tmp_path, MAE(), VIT, ranks=2).digest() == spec.digest()
    assert image_spec(tmp_path, MAE(), VIT, micro_batch=8).digest() != spec.digest()


def test_ranks_are_slices_of_one_stream(tmp_path):
    """Each rank reads its own images of the batches of one process."""
    from ssl_models.image_run import open_run

    spec = image_spec(tmp_path, MAE(), VIT, ranks=2)
    whole, *parts = (open_run(spec, ranks).packer for ranks in (Ranks(), Ranks(0, 2), Ranks(1, 2)))
    for _ in range(12):  # of 320 images: into the second epoch
        batch, halves = next(whole), [next(part) for part in parts]
        assert [word for half in halves for word in half.words_B] == list(batch.words_B)
        assert [epoch for half in halves for epoch in half.epochs_B] == list(batch.epochs_B)
        assert {half.tokens for half in halves} == {32}
        assert {half.read for half in halves} == {batch.read}
