"""Results of ``read``: tables and pictures of a policy that was read."""
