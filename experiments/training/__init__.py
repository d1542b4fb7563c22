"""What ``train`` is made of: trainers, baselines, progress, and the table of a sweep."""
