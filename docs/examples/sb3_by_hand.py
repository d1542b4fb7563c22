"""Stable-Baselines3 by hand: PPO on an environment of this package, compared with the action zero in the same world."""

import gymnasium
import numpy as np
from stable_baselines3 import PPO

import echelongym  # noqa: F401 (registers the environments)

env = gymnasium.make("echelongym/LostSales-v1", periods=100)
print("observed:", ", ".join(env.unwrapped.encoder.names[:3]), "...")
print("acted:", ", ".join(env.unwrapped.decoder.names))

# Little noise at first (log_std_init): action 0 is a sensible policy, and learning starts close to it.
noise = {"log_std_init": -1.5}
model = PPO("MlpPolicy", env, n_steps=1_000, batch_size=250, gamma=0.95, policy_kwargs=noise, seed=0, device="cpu")
model.learn(10_000)


def play(decide, worlds=20):
    """Cost a period over several episodes; the seed names the first world, each reset takes the next."""
    total = 0.0
    for world in range(worlds):
        seen, _ = env.reset(seed=5) if world == 0 else env.reset()
        over = False
        while not over:
            seen, _, _, over, info = env.step(decide(seen))
            total += info["cost"]
    return total / (100 * worlds)


costs = {}
for name, decide in (
    ("action 0, automatic levels", lambda seen: np.zeros(env.action_space.shape, np.float32)),
    ("PPO after 10,000 steps", lambda seen: model.predict(seen, deterministic=True)[0]),
):
    costs[name] = play(decide)
    print(f"{name}: cost {costs[name]:.2f} a period")
assert all(4.7 < cost < 8.0 for cost in costs.values())
