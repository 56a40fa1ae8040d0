"""Slow, literal references: every formula written out pixel by pixel, in float64."""

import itertools
import math

import numpy as np


def reflect(i: int, n: int) -> int:
    return -i if i < 0 else 2 * (n - 1) - i if i >= n else i


def dissimilarity(x, y):
    """x, y: c h w -> c h w."""
    c1, c2 = 0.01**2, 0.03**2
    out = np.empty_like(x)
    for c, v, u in np.ndindex(x.shape):
        window = [(reflect(v + j, x.shape[1]), reflect(u + i, x.shape[2])) for j in (-1, 0, 1) for i in (-1, 0, 1)]
        a, b = (np.array([m[c][p] for p in window]) for m in (x, y))
        cov = ((a - a.mean()) * (b - b.mean())).mean()
        ssim = (
            (2 * a.mean() * b.mean() + c1)
            * (2 * cov + c2)
            / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (a.var() + b.var() + c2))
        )
        out[c, v, u] = min(1, max(0, (1 - ssim) / 2))
    return out


def photometric_error(x, y, alpha=0.85):
    """c h w -> h w."""
    return (alpha * dissimilarity(x, y) + (1 - alpha) * abs(x - y)).mean(0)


def smoothness(disparity, image):
    """disparity h w, image c h w -> float, for one image."""
    d = disparity / (disparity.mean() + 1e-7)
    h, w = d.shape
    across = [
        abs(d[v, u] - d[v, u + 1]) * math.exp(-abs(image[:, v, u] - image[:, v, u + 1]).mean())
        for v in range(h)
        for u in range(w - 1)
    ]
    down = [
        abs(d[v, u] - d[v + 1, u]) * math.exp(-abs(image[:, v, u] - image[:, v + 1, u]).mean())
        for v in range(h - 1)
        for u in range(w)
    ]
    return np.mean(across) + np.mean(down)


def bilinear(image, x, y):
    """image c h w; the nearest border value outside."""
    _, h, w = image.shape
    x, y = min(max(x, 0.0), w - 1.0), min(max(y, 0.0), h - 1.0)
    u, v = min(int(x), w - 2), min(int(y), h - 2)
    a, b = x - u, y - v
    return (1 - b) * ((1 - a) * image[:, v, u] + a * image[:, v, u + 1]) + b * (
        (1 - a) * image[:, v + 1, u] + a * image[:, v + 1, u + 1]
    )


def synthesize(source, depth, K, T):
    """source c h w, depth h w -> image c h w, valid h w, depth in the source h w, pixels 2 h w."""
    c, (h, w) = len(source), depth.shape
    image, valid, z, pixels = np.empty((c, h, w)), np.zeros((h, w), bool), np.empty((h, w)), np.empty((2, h, w))
    for v, u in np.ndindex(h, w):
        point = depth[v, u] * np.linalg.inv(K) @ [u, v, 1]
        moved = T[:3, :3] @ point + T[:3, 3]
        z[v, u] = moved[2]
        x, y = (K @ moved)[:2] / max(moved[2], 1e-3)
        pixels[:, v, u] = x, y
        valid[v, u] = moved[2] > 1e-3 and -0.01 <= x <= w - 0.99 and -0.01 <= y <= h - 0.99
        image[:, v, u] = bilinear(source, x, y)
    return image, valid, z, pixels


def view(image_tgt, depth_tgt, image_src, depth_src, K, T, alpha):
    """error, valid, D_diff of one source of one image."""
    warped, valid, computed, _ = synthesize(np.concatenate([image_src, depth_src[None]]), depth_tgt, K, T)
    computed, sampled = np.maximum(computed, 1e-3), warped[-1]
    return photometric_error(warped[:-1], image_tgt, alpha), valid, abs(computed - sampled) / (computed + sampled)


def photometric_and_geometry(batch, alpha=0.85, automask=True, self_discovered=True):
    """One group of views over a batch.

    `batch` is a list of (image_tgt, depth_tgt, [(image_src, depth_src, K, T), ...]).
    """
    errors, differences = [], None
    for image_tgt, depth_tgt, sources in batch:
        views = [view(image_tgt, depth_tgt, s, d, K, T, alpha) for s, d, K, T in sources]
        identity = np.min([photometric_error(s, image_tgt, alpha) for s, *_ in sources], 0)
        differences = differences or [[] for _ in views]
        for v, u in np.ndindex(depth_tgt.shape):
            seen = [(error[v, u], difference[v, u]) for error, valid, difference in views if valid[v, u]]
            if seen and (min(seen)[0] < identity[v, u] or not automask):
                errors.append(min(seen)[0] * (1 - min(seen)[1] if self_discovered else 1))
        for kept, (_, valid, difference) in zip(differences, views, strict=True):
            kept.extend(difference[valid])
    return (np.mean(errors) if errors else 0.0), np.mean([np.mean(d) if d else 0.0 for d in differences])


def normals(depth, K):
    """h w -> 3 h w, cross products of central differences of points, borders repeated."""
    h, w = depth.shape
    points = np.array([[depth[v, u] * np.linalg.inv(K) @ [u, v, 1] for u in range(w)] for v in range(h)])
    out = np.empty((3, h, w))
    for v, u in np.ndindex(h, w):
        j, i = min(max(v, 1), h - 2), min(max(u, 1), w - 2)
        n = np.cross(points[j + 1, i] - points[j - 1, i], points[j, i + 1] - points[j, i - 1])
        out[:, v, u] = n / np.linalg.norm(n)
    return out


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def ranking(depth, relative, pairs, weight=None):
    """depth, relative, weight: b n; pairs: 2 b m."""
    losses = []
    for image in range(len(depth)):
        for a, b in zip(*pairs[:, image], strict=True):
            ratio = relative[image, a] / relative[image, b]
            order = 1 if ratio > 1.15 else -1 if 1 / ratio > 1.15 else 0
            if order:
                scale = 1 if weight is None else weight[image, a]
                losses.append(scale * softplus(-10 * order * math.log(depth[image, a] / depth[image, b])) / 10)
    return np.mean(losses) if losses else 0.0


def sobel(x):
    """h w -> (gx, gy), borders replicated."""
    p = np.pad(x, 1, mode="edge")
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    gradient = np.empty((2, *x.shape))
    for v, u in np.ndindex(x.shape):
        patch = p[v : v + 3, u : u + 3]
        gradient[:, v, u] = (kernel * patch).sum(), (kernel.T * patch).sum()
    return gradient


def edges(x):
    """c h w -> (edge h w, direction 2 h w) of the strongest channel."""
    gradients = np.array([sobel(channel) for channel in x])  # c 2 h w
    lengths = np.hypot(gradients[:, 0], gradients[:, 1])
    strongest, length = lengths.argmax(0), lengths.max(0)
    direction = np.take_along_axis(gradients, strongest[None, None], 0)[0] / np.maximum(length, 1e-12)
    return length > 0.1 * length.max(), direction


def edge_normal(depth, relative, image, K, draws, weight=None):
    """b h w, b c h w, b 3 3; draws: for image and for normal edges (anchors b n, steps 4 b n)."""
    losses, (h, w) = [], depth.shape[1:]
    for b in range(len(depth)):
        n, n_prior, at_depth = normals(depth[b], K[b]), normals(relative[b], K[b]), edges(relative[b][None])[0]
        for x, (anchors, steps) in zip((image[b], n_prior), draws, strict=True):
            edge, direction = edges(x)
            for anchor, step in zip(anchors[b], steps[:, b].T, strict=True):
                v, u = divmod(int(anchor), w)
                if not edge[v, u] or at_depth[v, u]:
                    continue
                one, two = sorted(step[[0, 2]]), sorted(step[[1, 3]])
                line = [-one[1], -one[0], two[0], two[1]]
                # Halves round to even, in single precision as the library does.
                points = [
                    (
                        u + round(float(np.float32(s) * np.float32(direction[0, v, u]))),
                        v + round(float(np.float32(s) * np.float32(direction[1, v, u]))),
                    )
                    for s in line
                ]
                for (xa, ya), (xb, yb) in itertools.pairwise(points):
                    if all(0 <= x < w for x in (xa, xb)) and all(0 <= y < h for y in (ya, yb)):
                        cosine, wanted = (abs(m[:, ya, xa] @ m[:, yb, xb]) for m in (n, n_prior))
                        losses.append(abs(cosine - wanted) * (1 if weight is None else weight[b, v, u]))
    return np.mean(losses) if losses else 0.0


def ssi(depth, relative):
    """b n: the lower median, as torch's."""
    total = 0.0
    for pair in zip(depth, relative, strict=True):
        normalised = []
        for d in pair:
            median = np.sort(d)[(len(d) - 1) // 2]
            normalised.append((d - median) / max(abs(d - median).mean(), 1e-3 * median))
        total += abs(normalised[0] - normalised[1]).mean()
    return total / len(depth)


def log_ratio(depth, relative, weight=None):
    """b n: the lower median, as torch's."""
    total = 0.0
    for i in range(len(depth)):
        ratios = [math.log(d / r) for d, r in zip(depth[i], relative[i], strict=True)]
        median = sorted(ratios)[(len(ratios) - 1) // 2]
        total += sum((1 if weight is None else weight[i][k]) * abs(ratio - median) for k, ratio in enumerate(ratios))
    return total / depth.size


def distillation(student, teacher, mask, kind):
    """b n."""
    total = 0.0
    for s, t, m in zip(student, teacher, mask, strict=True):
        if not m.any():
            continue
        s, t = s[m], t[m]
        d = np.log(s) - np.log(t)
        median = np.sort(d)[(len(d) - 1) // 2]
        total += {"silog": math.sqrt(d.var() + 1e-6), "log_l1": abs(d - median).mean(), "l1": abs(s - t).mean()}[kind]
    return total / len(student)


def reprojection_error(depth_tgt, depth_src, K, T):
    """h w -> error h w."""
    pixels = synthesize(depth_src[None], depth_tgt, K, T)[3]
    out = np.empty_like(depth_tgt)
    for v, u in np.ndindex(depth_tgt.shape):
        x, y = pixels[:, v, u]
        there = bilinear(depth_src[None], x, y)[0]
        back = np.linalg.inv(T) @ [*(there * np.linalg.inv(K) @ [x, y, 1]), 1]
        out[v, u] = abs(back[2] - depth_tgt[v, u]) / depth_tgt[v, u]
    return out


def prior_confirms(kept, depth, relative):
    """n, compared with all kept pixels (at most 256)."""
    references = np.flatnonzero(kept)
    out = np.zeros(len(kept), bool)
    for a in range(len(kept)):
        sure = agrees = 0
        for b in references:
            order = int(relative[a] > 1.15 * relative[b]) - int(relative[b] > 1.15 * relative[a])
            sure += order != 0
            agrees += order != 0 and order * (depth[a] - depth[b]) > 0
        out[a] = sure > 0 and agrees >= 0.9 * sure
    return out
