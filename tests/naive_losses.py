"""The losses as loops over single numbers, straight from their definitions: what the vectorised ones are held against.

Plain float64 tensors of no dimension, so that autograd gives the loops' own gradients.
"""

import math

import torch


def dot(a, b):
    return sum((x * y for x, y in zip(a, b, strict=True)), start=torch.zeros((), dtype=torch.float64))


def cosine(a, b):
    return dot(a, b) / torch.sqrt(dot(a, a) * dot(b, b))


def log_softmax_at(scores, index):
    top = max(float(score.detach()) for score in scores)
    return scores[index] - top - torch.log(sum(torch.exp(score - top) for score in scores))


def mean(values):
    return sum(values) / len(values)


def next_token(logits, ids, document=None):
    losses = []
    for b in range(len(ids)):
        for t in range(ids.shape[1] - 1):
            if document is None or (document[b, t] >= 0 and document[b, t] == document[b, t + 1]):
                losses.append(-log_softmax_at(list(logits[b, t]), int(ids[b, t + 1])))
    return mean(losses) if losses else torch.zeros((), dtype=torch.float64)


def nt_xent(z1, z2, temperature):
    views = [*z1, *z2]
    losses = []
    for i, view in enumerate(views):
        partner = (i + len(z1)) % len(views)
        others = [j for j in range(len(views)) if j != i]
        scores = [cosine(view, views[j]) / temperature for j in others]
        losses.append(-log_softmax_at(scores, others.index(partner)))
    return mean(losses)


def info_nce(query, key, negatives, temperature):
    losses = []
    for q, k in zip(query, key, strict=True):
        losses.append(-log_softmax_at([cosine(q, other) / temperature for other in [k, *negatives]], 0))
    return mean(losses)


def triplet(anchor, positive, negative, margin):
    losses = []
    for a, p, n in zip(anchor, positive, negative, strict=True):
        value = (1 - cosine(a, p)) - (1 - cosine(a, n)) + margin
        losses.append(value if value > 0 else 0 * value)
    return mean(losses)


def clip(image, text, scale):
    scores = [[scale * cosine(i, t) for t in text] for i in image]
    size = range(len(image))
    by_image = mean([-log_softmax_at(scores[n], n) for n in size])
    by_text = mean([-log_softmax_at([scores[m][n] for m in size], n) for n in size])
    return (by_image + by_text) / 2


def siglip(image, text, scale, bias):
    total = 0
    for n, i in enumerate(image):
        for m, t in enumerate(text):
            signed = (1 if n == m else -1) * (scale * cosine(i, t) + bias)
            total = total + torch.log1p(torch.exp(-signed.abs())) + torch.relu(-signed)
    return total / len(image)


def byol(online, target):
    return mean([2 - 2 * cosine(o, t) for o, t in zip(online, target.detach(), strict=True)])


def vicreg(z1, z2, invariance=25.0, variance=25.0, covariance=1.0):
    B, D = z1.shape
    loss = invariance * mean([(a - b) ** 2 for x, y in zip(z1, z2, strict=True) for a, b in zip(x, y, strict=True)])
    for z in (z1, z2):
        means = [mean([z[b, d] for b in range(B)]) for d in range(D)]
        for d in range(D):
            for e in range(D):
                c = sum((z[b, d] - means[d]) * (z[b, e] - means[e]) for b in range(B)) / (B - 1)
                if d == e:
                    hinge = 1 - torch.sqrt(c + 1e-4)
                    loss = loss + variance * (hinge if hinge > 0 else 0 * hinge) / D / 2
                else:
                    loss = loss + covariance * c**2 / D
    return loss


def dino(student, teacher, centre, student_temperature, teacher_temperature):
    losses = []
    for t, from_teacher in enumerate(teacher.detach()):
        for s, from_student in enumerate(student):
            if s == t:
                continue
            for one, other in zip(from_teacher, from_student, strict=True):
                target = [(x - c) / teacher_temperature for x, c in zip(one, centre, strict=True)]
                scores = [x / student_temperature for x in other]
                p = [torch.exp(log_softmax_at(target, k)) for k in range(len(target))]
                losses.append(-sum(p[k] * log_softmax_at(scores, k) for k in range(len(p))))
    return mean(losses)


def sigreg(z, directions, knots=17, reach=3.0):
    B, statistics = len(z), []
    for direction in directions.T:
        unit = direction / torch.sqrt(dot(direction, direction))
        along, values = [dot(row, unit) for row in z], []
        for k in range(2 * knots - 1):
            t = reach * (k - knots + 1) / (knots - 1)
            real = mean([torch.cos(t * x) for x in along]) - math.exp(-t * t / 2)
            imaginary = mean([torch.sin(t * x) for x in along])
            values.append((real**2 + imaginary**2) * math.exp(-t * t / 2))
        step = reach / (knots - 1)
        statistics.append(B * step * sum((a + b) / 2 for a, b in zip(values, values[1:], strict=False)))
    return mean(statistics)


def lejepa(z, directions, global_views, weight):
    centres = mean([z[v] for v in range(global_views)])
    apart = [(c - x) ** 2 for view in z for c, x in zip(centres.flatten(), view.flatten(), strict=True)]
    return (1 - weight) * mean(apart) + weight * mean([sigreg(view, directions) for view in z])


def mae(pred, target, mask, normalise):
    losses = []
    for b in range(len(pred)):
        for patch in range(pred.shape[1]):
            if not mask[b, patch]:
                continue
            wanted = list(target[b, patch])
            if normalise:
                middle = mean(wanted)
                spread = sum((x - middle) ** 2 for x in wanted) / (len(wanted) - 1)
                wanted = [(x - middle) / torch.sqrt(spread + 1e-6) for x in wanted]
            losses.append(mean([(x - y) ** 2 for x, y in zip(pred[b, patch], wanted, strict=True)]))
    return mean(losses) if losses else torch.zeros((), dtype=torch.float64)


def wav2vec2(context, quantised, distractors, probability, features, temperature):
    losses = []
    for c, q, others in zip(context, quantised, distractors, strict=True):
        candidates = [q, *(other for other in others if not torch.equal(other, q))]
        losses.append(-log_softmax_at([cosine(c, other) / temperature for other in candidates], 0))
    G, V = probability.shape[1:]
    used = 0
    for g in range(G):
        p = [mean([row[g, v] for row in probability]) for v in range(V)]
        used = used + torch.exp(-sum(x * torch.log(x) for x in p if x > 0))
    penalty = mean([x**2 for x in features.flatten()])
    return mean(losses), (G * V - used) / (G * V), penalty
