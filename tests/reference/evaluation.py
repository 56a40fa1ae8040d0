"""A literal evaluation loop, image by image on full maps: the slow reference of the evaluator."""

import cv2
import numpy as np


def evaluate_literally(samples, protocol) -> dict[str, float]:
    """Mean AbsRel, SqRel, RMSE, RMSElog and δ1 over all images with median alignment."""
    rows = []
    for sample in samples:
        gt = sample.gt.astype(np.float64)
        height, width = gt.shape
        mask = (gt > protocol.min_depth) & (gt < protocol.max_depth)
        if protocol.crop:
            top, bottom, left, right = protocol.crop
            crop = np.zeros(gt.shape, bool)
            crop[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = True
            mask = mask & crop
        pred = cv2.resize(sample.pred, (width, height)).astype(np.float64)
        pred = pred * np.median(gt[mask]) / np.median(pred[mask])
        pred = np.clip(pred, protocol.min_depth, protocol.max_depth)
        safe = np.where(mask, gt, 1.0)

        def mean(values, mask=mask):
            return np.where(mask, values, 0).sum() / mask.sum()

        ratio = np.maximum(pred / safe, safe / pred)
        rows.append({
            "abs_rel": mean(np.abs(pred - safe) / safe),
            "sq_rel": mean((pred - safe) ** 2 / safe),
            "rmse": np.sqrt(mean((pred - safe) ** 2)),
            "rmse_log": np.sqrt(mean((np.log(pred) - np.log(safe)) ** 2)),
            "d1": mean(ratio < 1.25),
        })  # fmt: skip
    return {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}
