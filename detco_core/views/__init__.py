"""From one image to its four views: two global, two sets of shuffled local patches (DetCo, T1 to T4)."""
