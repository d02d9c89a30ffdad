"""One run on two hosts, seen working: real workers, real training, one host lost in the middle."""
