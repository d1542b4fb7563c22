"""Random processes of the outside world: each one only samples arrays for a tape."""
