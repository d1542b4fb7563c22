"""What ``read`` writes: tables and pictures of a policy that was read."""
