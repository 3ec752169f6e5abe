"""State, step, optimizer rules, sharding and checkpoints: what every run shares."""
