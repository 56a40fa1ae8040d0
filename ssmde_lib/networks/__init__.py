"""The networks: depth, pose, LeReS, and the checkpoint file they share."""
