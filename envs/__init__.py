"""The world: networks, scenarios, tapes, one period of dynamics, costs and the Gymnasium environments over them."""
