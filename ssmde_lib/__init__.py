"""Self-supervised self-distillation for monocular depth: the method, in small modules (docs/design.md)."""
