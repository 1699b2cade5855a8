"""The ideas behind the methods, each on a toy that runs in seconds: ``python -m tasks.learning.seeds NAME``.

bigram: the next word from its left neighbour, by counts. views: NT-Xent on two noisy views of points. triplet: triplet
training on clusters, with its loss curve and the principal components before and after.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ssl_models import losses
from ssl_models.keys import stream
from tasks.learning import baselines

TEXT = (
    "the miller turns the wheel . the wheel turns the stone . the stone grinds the grain . the miller sells the flour "
    ". the baker buys the flour . the baker sells the bread . the miller buys the bread ."
)


def bigram(text: str = TEXT) -> dict[str, list[tuple[str, float]]]:
    """The words that may follow each word, likeliest first, by maximum likelihood; and what the model costs in nats."""
    words = text.split()
    vocabulary = sorted(set(words))
    ids = np.array([vocabulary.index(word) for word in words])
    counts = baselines.count([ids], len(vocabulary))
    table = np.zeros((len(vocabulary), len(vocabulary)))
    table[counts.left, counts.token] = counts.pairs
    following: dict[str, list[tuple[str, float]]] = {}
    for left in np.flatnonzero(table.sum(1)):
        share = table[left] / table[left].sum()
        ranked = sorted(np.flatnonzero(share), key=lambda token: (-share[token], token))
        following[vocabulary[left]] = [(vocabulary[token], float(share[token])) for token in ranked]
    return following


def bigram_measures(text: str = TEXT) -> dict[str, float]:
    """Entropy of the words; the same given the left neighbour; KL of the words after "the" from all words; in nats."""
    words = text.split()[1:]
    vocabulary = sorted(set(text.split()))
    p = torch.tensor([words.count(word) for word in vocabulary], dtype=torch.float64) / len(words)
    following = bigram(text)
    lefts = text.split()[:-1]
    given = 0.0
    for left in sorted(following):
        q = torch.tensor([share for _, share in following[left]], dtype=torch.float64)
        given += lefts.count(left) / len(lefts) * float(losses.entropy(q))
    first = max(following, key=lambda word: (lefts.count(word), word))
    after = dict(following[first])
    q = torch.tensor([after.get(word, 0.0) for word in vocabulary], dtype=torch.float64)
    divergence = float(losses.kl_divergence(q, p))
    return {"unigram": float(losses.entropy(p)), "bigram": given, f"kl_after_{first}": divergence}


def _points(count: int, clusters: int, dimensions: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clusters that lie in three of the dimensions; the others are louder, and say nothing."""
    generator = torch.Generator().manual_seed(stream("points", seed))
    labels = torch.arange(count) % clusters
    centres = torch.randn(clusters, 3, generator=generator) * 2
    x = torch.randn(count, dimensions, generator=generator) * 3
    x[:, :3] = centres[labels] + 0.3 * torch.randn(count, 3, generator=generator)
    return x, labels


def _network(dimensions: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("weights", seed))
        return nn.Sequential(nn.Linear(dimensions, 64), nn.ReLU(), nn.Linear(64, 8))


def views(steps: int = 300, seed: int = 0) -> dict[str, float]:
    """NT-Xent: two views of a point share its signal and not its noise. How often a view's nearest is its partner."""
    signal, _ = _points(512, 512, 3, seed)
    model, generator = _network(16, seed), torch.Generator().manual_seed(stream("views", seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def two(points: Tensor) -> list[Tensor]:
        """The point's three numbers, slightly blurred, among thirteen of noise drawn anew for each view."""
        noise = [3 * torch.randn(len(points), 13, generator=generator) for _ in range(2)]
        return [torch.cat([points + 0.1 * torch.randn(points.shape, generator=generator), n], 1) for n in noise]

    def found() -> float:
        with torch.no_grad():
            first, second = (nn.functional.normalize(model(x)) for x in two(signal[256:]))
        return float((((first @ second.T).argmax(1)) == torch.arange(256)).float().mean())

    before, curve = found(), []
    for _ in range(steps):
        chosen = signal[:256][torch.randperm(256, generator=generator)[:64]]
        first, second = (model(x) for x in two(chosen))
        loss = losses.nt_xent(first, second, 0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(float(loss.detach()))
    figures = {"chance_loss": math.log(127), "first_loss": curve[0], "last_loss": curve[-1]}
    return {**figures, "before": before, "after": found()}


def triplet(folder: Path, steps: int = 200, seed: int = 0) -> dict[str, float]:
    """Triplet training on three clusters hidden among loud dimensions; writes ``FOLDER/triplet.png``."""
    from tasks.learning.pictures import curve_and_components

    x, labels = _points(300, 3, 20, seed)
    model, generator = _network(20, seed), torch.Generator().manual_seed(stream("triplets", seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    start = model(x).detach().numpy()
    curve = []
    for _ in range(steps):
        anchor = torch.randint(300, (128,), generator=generator)
        positive = (anchor + 3 * torch.randint(1, 100, (128,), generator=generator)) % 300
        other = 3 * torch.randint(0, 100, (128,), generator=generator) + torch.randint(
            1, 3, (128,), generator=generator
        )
        negative = (anchor + other) % 300
        z = model(x)
        loss = losses.triplet(z[anchor], z[positive], z[negative], margin=0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(float(loss.detach()))
    end = model(x).detach().numpy()
    names = [f"cluster {label}" for label in labels.tolist()]
    curve_and_components(curve, {"before": start, "after": end}, names, folder / "triplet.png")
    return {
        "first_loss": curve[0],
        "last_loss": curve[-1],
        "before": _nearest(start, labels),
        "after": _nearest(end, labels),
    }


def _nearest(z_ND: np.ndarray, labels: Tensor) -> float:
    """How often the nearest other point, by cosine, is of the same cluster."""
    z = nn.functional.normalize(torch.from_numpy(z_ND))
    near = (z @ z.T).fill_diagonal_(-2).argmax(1)
    return float((labels[near] == labels).float().mean())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tasks.learning.seeds", description=__doc__)
    parser.add_argument("name", choices=("bigram", "views", "triplet"))
    parser.add_argument("--folder", type=Path, default=Path("."), help="where triplet.png goes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.name == "bigram":
        for word, after in bigram().items():
            print(f"{word:>7} -> " + ", ".join(f"{other} {share:.2f}" for other, share in after))
        print("nats a word: " + ", ".join(f"{name} {value:.2f}" for name, value in bigram_measures().items()))
        return
    figures = views() if options.name == "views" else triplet(options.folder)
    print(", ".join(f"{name} {value:.3f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
