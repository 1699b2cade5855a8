"""Every loss against the loop of its definition, value and gradients: <= 1e-10 in float64, <= 1e-5 in float32."""

import naive_losses as naive
import pytest
import torch

from ssl_models import losses

CASES = range(20)
TEMPERATURES = (0.01, 0.1, 0.5, 1.0)


def tensors(case, *shapes):
    generator = torch.Generator().manual_seed(1000 + case)
    scale = (1.0, 30.0, 1e-3)[case % 3]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) * scale for shape in shapes]


def sizes(case):
    """B from 1, D from 1; equal rows and opposite rows come up below."""
    return 1 + case % 5, 1 + case % 4 + case // 5


def clones(case, x):
    """Some rows are copies of the first: duplicate captions, a batch of one sample."""
    if case % 4 == 3 and len(x) > 1:
        x[1:] = x[0]
    return x


def agree(ours, theirs, inputs, fixed=()):
    """Value and gradients, these relative to the largest entry of all, as an optimizer sees them."""
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        mine = [x.to(dtype).detach().requires_grad_() for x in inputs]
        exact = [
            x.detach().double().requires_grad_() for x in mine
        ]  # what float32 lost in the inputs is not the loss's
        rest = [x.to(dtype) if x.is_floating_point() else x for x in fixed]
        value, truth = ours(*mine, *rest), theirs(*exact, *[x.double() if x.is_floating_point() else x for x in rest])
        assert value.dtype == dtype
        assert value.ndim == 0
        assert value.item() == pytest.approx(truth.item(), rel=tolerance, abs=tolerance * 0.1)
        gradients = torch.autograd.grad(value, mine, allow_unused=True, materialize_grads=True)
        truths = torch.autograd.grad(truth + 0 * sum(x.sum() for x in exact), exact)
        # A cosine's gradient is of the size of 1 / |x|: compared in units of it, gradients of tiny inputs count too.
        sizes = [x.detach().double().norm(dim=-1, keepdim=True) for x in exact]
        whole = max(float((g * s).abs().max()) for g, s in zip(truths, sizes, strict=True) if g.numel())
        for gradient, expected, size in zip(gradients, truths, sizes, strict=True):
            assert torch.isfinite(gradient).all()
            assert ((gradient.double() - expected) * size).abs().max() <= tolerance * max(whole, 0.1)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("documents", [False, True])
def test_next_token(case, documents):
    B, V = sizes(case)
    T = 1 + case % 6
    (logits,) = tensors(case, (B, T, V))
    generator = torch.Generator().manual_seed(case)
    ids = torch.randint(V, (B, T), generator=generator)
    document = torch.randint(-1, 2, (B, T), generator=generator).sort(-1, descending=True).values
    fixed = (ids, document) if documents else (ids,)
    agree(losses.next_token_cross_entropy, naive.next_token, [logits], fixed)


@pytest.mark.parametrize("case", CASES)
def test_nt_xent(case):
    z1, z2 = tensors(case, sizes(case), sizes(case))
    t = TEMPERATURES[case % 4]
    agree(lambda a, b: losses.nt_xent(a, b, t), lambda a, b: naive.nt_xent(a, b, t), [clones(case, z1), z2])


@pytest.mark.parametrize("case", CASES)
def test_info_nce(case):
    B, D = sizes(case)
    query, key, negatives = tensors(case, (B, D), (B, D), (case % 7, D))
    t = TEMPERATURES[case % 4]
    ours, theirs = (lambda *x, f=f: f(*x, t) for f in (losses.info_nce, naive.info_nce))
    agree(ours, theirs, [clones(case, query), key], [negatives])


@pytest.mark.parametrize("case", CASES)
def test_triplet(case):
    margin = (0.0, 0.2, 1.0)[case % 3]
    inputs = tensors(case, *[(1 + case % 5, 2 + case % 4)] * 3)
    agree(lambda *x: losses.triplet(*x, margin), lambda *x: naive.triplet(*x, margin), inputs)


@pytest.mark.parametrize("case", CASES)
def test_clip(case):
    image, text = tensors(case, sizes(case), sizes(case))
    scale = torch.tensor(1 / TEMPERATURES[case % 4])
    agree(losses.clip, naive.clip, [image, clones(case, text)], [scale])


@pytest.mark.parametrize("case", CASES)
def test_siglip(case):
    image, text = tensors(case, sizes(case), sizes(case))
    scale, bias = torch.tensor(1 / TEMPERATURES[case % 4]), torch.tensor((-10.0, 0.0, 1.5)[case % 3])
    agree(losses.siglip, naive.siglip, [image, clones(case, text)], [scale, bias])


def test_the_learned_scale_and_bias_have_the_loops_gradients():
    image, text = tensors(0, (5, 4), (5, 4))
    scale, bias = torch.full((1,), 14.3), torch.full((1,), -10.0)
    agree(lambda s, *x: losses.clip(*x, s), lambda s, *x: naive.clip(*x, s[0]), [scale], [image, text])
    agree(
        lambda s, b, *x: losses.siglip(*x, s, b),
        lambda s, b, *x: naive.siglip(*x, s[0], b[0]),
        [scale, bias],
        [image, text],
    )


@pytest.mark.parametrize("case", CASES)
def test_byol(case):
    online, target = tensors(case, sizes(case), sizes(case))
    agree(losses.byol, naive.byol, [clones(case, online), target])


@pytest.mark.parametrize("case", CASES)
def test_vicreg(case):
    shape = (2 + case % 4, 1 + case % 5)
    agree(losses.vicreg, naive.vicreg, [clones(case, x) for x in tensors(case, shape, shape)])


@pytest.mark.parametrize("case", CASES)
def test_dino(case):
    B, K = 1 + case % 3, 1 + case % 4
    student, teacher, centre = tensors(case, (2 + case % 3, B, K), (1 + case % 2, B, K), (K,))
    hot = ((0.1, 0.04), (0.01, 0.01), (1.0, 0.5))[case % 3]
    agree(lambda *x: losses.dino(*x, *hot), lambda *x: naive.dino(*x, *hot), [student], [teacher, centre])


@pytest.mark.parametrize("case", CASES)
def test_lejepa_and_sigreg(case):
    B, D = 1 + case % 3, 1 + case % 4
    z, directions = tensors(case, (2 + case % 2, B, D), (D, 2))
    z = z / (z.abs().max() / 3)
    g = 1 + case % 2
    agree(lambda *x: losses.lejepa(*x, g, 0.05), lambda *x: naive.lejepa(*x, g, 0.05), [z], [directions])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("normalise", [True, False])
def test_mae(case, normalise):
    shape = (1 + case % 3, 1 + case % 4, 2 + case % 5)
    pred, target = tensors(case, shape, shape)
    mask = (torch.rand(shape[:2], generator=torch.Generator().manual_seed(case)) < (0.75, 0.1)[case % 2]).double()
    ours, theirs = (lambda *x, f=f: f(*x, normalise) for f in (losses.mae, naive.mae))
    agree(ours, theirs, [pred], [target, mask])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("term", [0, 1, 2])
def test_wav2vec2(case, term):
    N, D = sizes(case)
    G, V = 1 + case % 2, 2 + case % 3
    context, quantised, distractors, codes, features = tensors(
        case, (N, D), (N, D), (N, case % 4, D), (N, G, V), (2, 3)
    )
    if case % 4 > 1:
        distractors[:, 0] = quantised  # a copy of the target among its distractors
    probability = codes.softmax(-1)
    if case % 5 == 0:
        probability = torch.nn.functional.one_hot(codes.argmax(-1), V).double()
    t = TEMPERATURES[case % 4]
    ours, theirs = (lambda *x, f=f: f(*x, t)[term] for f in (losses.wav2vec2, naive.wav2vec2))
    five = [context, quantised, distractors, probability, features]
    variable = ((0, 1), (3,), (4,))[term]
    if term == 1 and case % 5 == 0:  # an unused entry: its gradient is infinite in truth, finite here
        assert ours(*five).item() == pytest.approx(theirs(*five).item(), rel=1e-10, abs=1e-12)
        return

    def ordered(f):
        places = [*variable, *(n for n in range(5) if n not in variable)]
        return lambda *x: f(*(value for _, value in sorted(zip(places, x, strict=True), key=lambda pair: pair[0])))

    agree(ordered(ours), ordered(theirs), [five[n] for n in variable], [five[n] for n in range(5) if n not in variable])
