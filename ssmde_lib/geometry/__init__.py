"""Camera, rigid motion, view synthesis and direct pose refinement: geometry that needs no network."""
