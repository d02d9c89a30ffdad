"""Random weights, MoCo v2 and DetCo compared on a small real data set, several seeds each."""
