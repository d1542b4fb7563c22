"""Storage: files that are written whole, caches, journals, locks, and worker processes."""
