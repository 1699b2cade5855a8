"""The image methods in the common loop: what they save, what moves when, and that a resume is exact."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from small_images import SMALL, VIT, image_spec

from ssl_models import ema, trainer
from ssl_models.image_config import BYOL, DINO, MAE, Augment, LeJEPA, SimCLR, VICReg
from ssl_models.image_encoders import features, open_image_encoder
from ssl_models.image_run import ImageRun
from ssl_models.images import stack
from ssl_models.objectives import build_image_method
from ssl_models.objectives.joint import Views

METHODS = {
    "simclr": (SimCLR(hidden=32, projection=16), SMALL),
    "byol": (BYOL(hidden=32, projection=16), SMALL),
    "vicreg": (VICReg(hidden=32, projection=16), SMALL),
    "dino": (DINO(hidden=32, projection=16, prototypes=24), SMALL),
    "lejepa": (LeJEPA(hidden=32, projection=16, directions=32), SMALL),
    "mae": (MAE(decoder_width=16, decoder_heads=2), VIT),
}


@pytest.fixture(autouse=True)
def _as_before():
    strict, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(strict)
    torch.set_num_threads(threads)


def weights(folder):
    return hashlib.sha256((Path(folder) / "encoder" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", METHODS)
def test_stopped_and_run_again_gives_the_same_encoder(tmp_path, name, monkeypatch):
    """Teachers, centres, BatchNorm statistics and the stream's place are in the checkpoint."""
    spec = image_spec(tmp_path, *METHODS[name])
    append = ImageRun.append_metrics

    def stop_after_eight(self, line):
        append(self, line)
        if line["step"] == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ImageRun, "append_metrics", stop_after_eight)
        with pytest.raises(KeyboardInterrupt):
            trainer.run_spec(spec)  # the newest checkpoint is of step 4: steps 5 to 8 are taken again
    assert trainer.run_spec(spec) == trainer.FINISHED
    whole = dataclasses.replace(spec, folder=str(tmp_path / "whole"))
    assert trainer.run_spec(whole) == trainer.FINISHED
    assert weights(spec.folder) == weights(whole.folder)


@pytest.mark.parametrize("name", ["simclr", "mae"])
def test_the_encoder_opens_as_its_library_opens_it(tmp_path, name):
    spec = image_spec(tmp_path, *METHODS[name])
    assert trainer.run_spec(spec) == trainer.FINISHED
    folder = tmp_path / "run" / "encoder"
    own = open_image_encoder(folder)
    pixels = torch.rand(2, 1, spec.encoder.image_size, spec.encoder.image_size)
    if name == "simclr":
        import timm

        other = timm.create_model(
            "resnet18", checkpoint_path=str(folder / "model.safetensors"), num_classes=0, in_chans=1,
            **spec.encoder.options,
        ).eval()  # fmt: skip
        assert torch.equal(other(pixels), features(own, pixels))
    else:
        from transformers import AutoModel, ViTMAEForPreTraining

        other = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
        found = other(pixels).last_hidden_state
        assert torch.equal(found[:, 1:].mean(1), features(own, pixels))
        method = build_image_method(spec.objective, spec.encoder, 0, 12)
        model = method.build().eval()
        assert isinstance(model, ViTMAEForPreTraining)
        model.config.mask_ratio = 0.0
        plain = method.trained_encoder(model).eval()
        keep = torch.arange(16).expand(2, 16).float()
        assert torch.allclose(
            model.vit(pixels, noise=keep).last_hidden_state, plain(pixels).last_hidden_state, atol=1e-5
        )


def batches(spec, count=1):
    run = ImageRun(spec)
    return run, [next(run.packer) for _ in range(count)]


def test_views_are_a_function_of_seed_epoch_sample_and_number(tmp_path):
    """The same image in another batch, at another place, gets the same views; in another epoch others."""
    spec = image_spec(tmp_path, *METHODS["dino"], batch=40)
    run, (first, *_, again) = batches(spec, 9)  # 320 images: the ninth batch is of the second epoch
    wide = ImageRun(dataclasses.replace(spec, train=dataclasses.replace(spec.train, batch=80)))
    double = wide.objective.view(next(wide.packer)).pixels_VBCSS
    drawn = run.objective.view(first).pixels_VBCSS
    assert torch.equal(double[:, :40], drawn)
    assert drawn.shape == (4, 40, 1, 16, 16)
    assert drawn.abs().max() <= 1
    assert not torch.equal(drawn[0], drawn[1])
    assert set(first.epochs_B) == {0}
    assert set(again.epochs_B) == {1}
    place = {word: row for row, word in enumerate(first.words_B)}
    for row, word in enumerate(again.words_B):
        if word in place:
            assert torch.equal(again.images[row], first.images[place[word]])
            assert not torch.equal(run.objective.view(again).pixels_VBCSS[0, row], drawn[0, place[word]])
            break
    other = build_image_method(spec.objective, spec.encoder, 1, 12).view(first).pixels_VBCSS
    assert not torch.equal(other, drawn)


def test_an_augmentation_of_nothing_is_the_image(tmp_path):
    still = Augment(crop_low=1, rotate_degrees=0, shear=0, contrast=0, brightness=0, erase=0)
    spec = image_spec(tmp_path, MAE(augment=still), VIT)
    run, (batch,) = batches(spec)
    # A crop of the whole area still has an aspect ratio: at most 15 % of a side.
    drawn = run.objective.view(batch).pixels_VBCSS[0] * 0.5 + 0.5
    pixels = stack(batch.images, 8)
    assert drawn.shape == pixels.shape
    assert torch.corrcoef(torch.stack([drawn.flatten(), pixels.flatten()]))[0, 1] > 0.9


def test_three_quarters_of_the_patches_are_hidden_by_key(tmp_path):
    run, (batch,) = batches(image_spec(tmp_path, *METHODS["mae"]))
    keys = run.objective.view(batch).keys_B
    model = run.build_model()
    mask = model(torch.zeros(32, 1, 8, 8), noise=run.objective.noise(keys)).mask
    assert (mask.sum(1) == 12).all()
    assert torch.equal(run.objective.noise(keys)[5], run.objective.noise(keys[5:6])[0])
    many = run.objective.noise(torch.arange(20_000))
    hidden = (many.argsort(1).argsort(1) >= 4).float().mean(0)
    assert (hidden - 0.75).abs().max() < 4 * np.sqrt(0.75 * 0.25 / 20_000)


def test_the_teacher_moves_once_a_step_buffers_too():
    student, teacher = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    student.weight.data.fill_(3.0)
    student.running_mean.fill_(5.0)
    student.num_batches_tracked.fill_(7)
    ema.update(teacher, student, 0.9)
    assert torch.allclose(teacher.weight, torch.full((3,), 1.2))
    assert torch.allclose(teacher.running_mean, torch.full((3,), 0.5))
    assert teacher.num_batches_tracked == 7
    assert ema.rising(0.99, 0, 100) == pytest.approx(0.99)
    assert ema.rising(0.99, 50, 100) == pytest.approx(0.995)
    assert ema.rising(0.99, 100, 100) == 1


@pytest.mark.parametrize("name", ["byol", "dino"])
def test_no_gradient_and_no_optimizer_reaches_the_teacher(tmp_path, name):
    from ssl_models.optimizers import build_optimizers

    spec = image_spec(tmp_path, *METHODS[name])
    run, (batch,) = batches(spec)
    model = run.build_model()
    before = {key: value.clone() for key, value in model.teacher.state_dict().items()}
    run.objective.loss(model, run.objective.view(batch)).backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    held = {id(p) for o in build_optimizers(model, spec.train) for group in o.param_groups for p in group["params"]}
    assert not held & {id(p) for p in model.teacher.parameters()}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}
    run.after_step(model, 1)
    assert any(not torch.equal(before[key], value) for key, value in model.teacher.state_dict().items())


def test_dinos_centre_does_not_care_how_the_batch_was_cut(tmp_path):
    """Four micro-batches and one step move it as the whole batch does (BatchNorm in evaluation, to tell it apart)."""
    spec = image_spec(tmp_path, *METHODS["dino"])
    run, (batch,) = batches(spec)
    view = run.objective.view(batch)
    centres = []
    for parts in (1, 4):
        model = run.build_model().eval()
        for pixels, keys in zip(view.pixels_VBCSS.chunk(parts, 1), view.keys_B.chunk(parts), strict=True):
            run.objective.loss(model, Views(pixels, keys))
        run.after_step(model, 1)
        centres.append(model.centre)
    assert centres[0].abs().sum() > 0
    assert torch.allclose(*centres, atol=1e-7)


def test_a_method_that_does_not_fit_the_encoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="objective mae cannot train a timm"):
        image_spec(tmp_path, MAE())
    with pytest.raises(ValueError, match=r"encoder\.model nothing"):
        build_image_method(SimCLR(), dataclasses.replace(SMALL, model="nothing"), 0, 1).build()


def test_every_patch_has_a_position_of_its_own(tmp_path):
    """The library leaves them at zero when it builds from a config: then nothing can be painted in its place."""
    model = ImageRun(image_spec(tmp_path, *METHODS["mae"])).build_model()
    for table in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
        assert not table.requires_grad
        apart = torch.cdist(table[0], table[0]) + 9 * torch.eye(17)
        assert apart.min() > 0.3
    assert model.decoder.mask_token.std() > 0.01


@pytest.mark.parametrize("config", ['{"architecture": "resnet18"}', '{"model_type": "vit"}'])
def test_a_folder_without_safetensors_is_not_opened(tmp_path, config):
    """Both libraries would fall back to a pickle."""
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "pytorch_model.bin").write_bytes(b"not to be read")
    with pytest.raises(ValueError, match="no model.safetensors"):
        open_image_encoder(tmp_path)
