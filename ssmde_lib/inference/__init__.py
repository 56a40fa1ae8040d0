"""From pictures to depth: predictor, sources, writers, export."""
