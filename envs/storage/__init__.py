"""Files that are written whole, and what makes work safe: caches, journals, locks, and worker processes."""
