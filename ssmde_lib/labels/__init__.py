"""What a student learns from: mask filters and labels from many views."""
