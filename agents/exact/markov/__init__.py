"""The finite Markov decision process of a small scenario, enumerated from the simulator."""
