"""Parts of ``train``: trainers, baselines, progress, and the table of a sweep."""
