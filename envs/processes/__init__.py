"""Random processes of demand, lead times and forecasts: each one only samples arrays for a tape."""
