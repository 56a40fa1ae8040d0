"""Band-limited procedural patterns.

Each is averaged over the width of a pixel, so that far surfaces fade and do not flicker.
"""

import numpy as np

_SIZE = 256
_NOISE = np.random.default_rng(7).uniform(-1, 1, (_SIZE, _SIZE)).astype(np.float32)
_TINTS = np.random.default_rng(8).uniform(-1, 1, (3, 4096)).astype(np.float32)


def value_noise(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth noise in [-1, 1] with one lattice point per unit, repeating after 256 units."""
    iu, iv = np.floor(u), np.floor(v)
    fu, fv = u - iu, v - iv
    fu *= fu * (3 - 2 * fu)
    fv *= fv * (3 - 2 * fv)
    ju, jv = iu.astype(np.int32) & 255, iv.astype(np.int32) & 255
    table, row, ju1 = _NOISE.ravel(), jv * _SIZE, (ju + 1) & 255
    below = ((jv + 1) & 255) * _SIZE
    top, bottom = table[row + ju], table[below + ju]
    top += fu * (table[row + ju1] - top)
    bottom += fu * (table[below + ju1] - bottom)
    return top + fv * (bottom - top)


def fractal_noise(u, v, width, octaves: int = 3) -> np.ndarray:
    """Sum of value noises, each finer by 3.7; one fades where a pixel (`width`, in u, v) covers half its lattice."""
    total, amplitude, frequency = np.zeros((), np.float32), 0.6, 1.0
    for octave in range(octaves):
        fade = np.clip(1.4 - 1.2 * frequency * width, 0, 1)
        total = total + (amplitude * fade) * value_noise(u * frequency + 17 * octave, v * frequency + 5 * octave)
        amplitude, frequency = amplitude * 0.75, frequency * 3.7
    return total


def pulse(x, width, duty) -> np.ndarray:
    """A square wave, exactly box-filtered.

    The share of [x - width/2, x + width/2] in the pulses [n - duty/2, n + duty/2], n integer.
    """
    half = width * 0.5 + 1e-4

    def integral(x):
        x = x + duty * 0.5
        cell = np.floor(x)
        return cell * duty + np.minimum(x - cell, duty)

    return (integral(x + half) - integral(x - half)) / (2 * half)


def cell_random(iu, iv, seed) -> np.ndarray:
    """Index in [0, 4096) that looks random, for integer-valued cell coordinates."""
    h = iu.astype(np.int32) * 73856093 ^ iv.astype(np.int32) * 19349663 ^ (seed * 997).astype(np.int32) * 83492791
    return (h ^ h >> 13) * 1274126177 >> 7 & 4095


def tints(index: np.ndarray) -> np.ndarray:
    """Three random numbers in [-1, 1] for each index of `cell_random`: 3 n."""
    return _TINTS[:, index]
