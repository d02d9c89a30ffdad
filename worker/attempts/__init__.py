"""An attempt in hand: its folder, its lease, what ends it and what its end means; here or for a host that leads."""
